"""How far to trust a matching: held-out scores, nulls, p-values and intervals."""

from universality.statistics.activation_maps import ActivationMap, fit_map
from universality.statistics.best_neuron import best_neurons
from universality.statistics.bootstrap import bootstrap_intervals
from universality.statistics.calibrating import calibrate
from universality.statistics.calibration import Calibration, CalibrationSummary, NullSummary
from universality.statistics.carried_loss import SharedLoss, SubsetLoss, shared_loss
from universality.statistics.coinciding import Coincidence, coincidence
from universality.statistics.comparing_effects import FeaturePairs, compare_effects
from universality.statistics.concept_partners import concept_table
from universality.statistics.crosscoder_classes import CrosscoderAgreement, crosscoder_agreement, feature_classes
from universality.statistics.effect_agreement import EffectAgreement, EffectAgreementSummary
from universality.statistics.feature_stability import Stability, stability, stability_of
from universality.statistics.held_out import Halves, equal_halves, evaluation_halves, held_out_scores
from universality.statistics.null_distribution import Chance, NullDistribution
from universality.statistics.overlapping_matchings import PartnerOverlap, partner_overlap
from universality.statistics.published_measures import (
    SONG_EDGES,
    by_frequency,
    excess_correlation,
    mppc,
    pw_mcc,
    shared_by_weights,
)
from universality.statistics.repairing import (
    Null,
    Repairing,
    plan_repairing,
    plan_token_repairing,
    repaired_rows,
)
from universality.statistics.representation_similarity import AgainstShuffles, against_shuffles, cka, rsa, svcca
from universality.statistics.sae_transfer import Transfer, transfer, transferred
from universality.statistics.substitution import PairSubstitution, PooledSubstitution, Substitution, substitute

__all__ = [
    "SONG_EDGES",
    "ActivationMap",
    "AgainstShuffles",
    "Calibration",
    "CalibrationSummary",
    "Chance",
    "Coincidence",
    "CrosscoderAgreement",
    "EffectAgreement",
    "EffectAgreementSummary",
    "FeaturePairs",
    "Halves",
    "Null",
    "NullDistribution",
    "NullSummary",
    "PairSubstitution",
    "PartnerOverlap",
    "PooledSubstitution",
    "Repairing",
    "SharedLoss",
    "Stability",
    "SubsetLoss",
    "Substitution",
    "Transfer",
    "against_shuffles",
    "best_neurons",
    "bootstrap_intervals",
    "by_frequency",
    "calibrate",
    "cka",
    "coincidence",
    "compare_effects",
    "concept_table",
    "crosscoder_agreement",
    "equal_halves",
    "evaluation_halves",
    "excess_correlation",
    "feature_classes",
    "fit_map",
    "held_out_scores",
    "mppc",
    "partner_overlap",
    "plan_repairing",
    "plan_token_repairing",
    "pw_mcc",
    "repaired_rows",
    "rsa",
    "shared_by_weights",
    "shared_loss",
    "stability",
    "stability_of",
    "substitute",
    "svcca",
    "transfer",
    "transferred",
]

"""How far to trust a matching: held-out scores, nulls, p-values and intervals."""

from universality.statistics.agreement import (
    SONG_EDGES,
    by_frequency,
    excess_correlation,
    mppc,
    pw_mcc,
    shared_by_weights,
)
from universality.statistics.best_neuron import best_neurons
from universality.statistics.bootstrap import bootstrap_intervals
from universality.statistics.calibrate import calibrate
from universality.statistics.calibration import Calibration
from universality.statistics.chance import Chance
from universality.statistics.concepts import concept_table
from universality.statistics.crosscoders import CrosscoderAgreement, crosscoder_agreement, feature_classes
from universality.statistics.geometry import AgainstShuffles, against_shuffles, cka, rsa, svcca
from universality.statistics.heldout import evaluation_halves, held_out_scores
from universality.statistics.null import Null, Repairing, plan_repairing, repaired_rows

__all__ = [
    "SONG_EDGES",
    "AgainstShuffles",
    "Calibration",
    "Chance",
    "CrosscoderAgreement",
    "Null",
    "Repairing",
    "against_shuffles",
    "best_neurons",
    "bootstrap_intervals",
    "by_frequency",
    "calibrate",
    "cka",
    "concept_table",
    "crosscoder_agreement",
    "evaluation_halves",
    "excess_correlation",
    "feature_classes",
    "held_out_scores",
    "mppc",
    "plan_repairing",
    "pw_mcc",
    "repaired_rows",
    "rsa",
    "shared_by_weights",
    "svcca",
]

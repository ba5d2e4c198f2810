"""Effects: what features do to the model's predictions."""

from typing import TYPE_CHECKING, Any

from universality.extras import import_name

if TYPE_CHECKING:
    from universality.effects.changes import (
        Change,
        ablate,
        ablate_all_but,
        ablate_one_each,
        add,
        add_one_each,
        clamp,
        clamp_one_each,
        multiply,
        of_maximum,
        replace_codes,
    )
    from universality.effects.comparing_pairs import measure_pair_effects
    from universality.effects.contexts import random_positions
    from universality.effects.exact import exact_effects
    from universality.effects.fingerprinting import (
        FingerprintSettings,
        ablation_fingerprints,
        addition_fingerprints,
        mean_probabilities,
        pair_fingerprints,
    )
    from universality.effects.fingerprints import Fingerprints, TokenSet
    from universality.effects.firing_sample import (
        Accuracy,
        ExactEffects,
        FiringSample,
        read_gradient_norms,
        sample_firings,
    )
    from universality.effects.first_order import collect_effects
    from universality.effects.generation import write
    from universality.effects.interventions import (
        Intervention,
        check_effect,
        check_sae,
        edited_logits,
        edited_losses,
    )
    from universality.effects.jacobian import JacobianSpread, MeanJacobian
    from universality.effects.jacobian_estimation import jacobian_spread, mean_jacobian
    from universality.effects.kind_classifier import KindClassifier, share_of_kind
    from universality.effects.loss_changes import LossChanges, measure_loss_changes
    from universality.effects.model_features import ModelFeatures
    from universality.effects.pair_effects import PairEffects

_HOME = {
    "Accuracy": "universality.effects.firing_sample",
    "Change": "universality.effects.changes",
    "ExactEffects": "universality.effects.firing_sample",
    "FingerprintSettings": "universality.effects.fingerprinting",
    "Fingerprints": "universality.effects.fingerprints",
    "FiringSample": "universality.effects.firing_sample",
    "Intervention": "universality.effects.interventions",
    "JacobianSpread": "universality.effects.jacobian",
    "KindClassifier": "universality.effects.kind_classifier",
    "LossChanges": "universality.effects.loss_changes",
    "MeanJacobian": "universality.effects.jacobian",
    "ModelFeatures": "universality.effects.model_features",
    "PairEffects": "universality.effects.pair_effects",
    "TokenSet": "universality.effects.fingerprints",
    "ablate": "universality.effects.changes",
    "ablate_all_but": "universality.effects.changes",
    "ablate_one_each": "universality.effects.changes",
    "ablation_fingerprints": "universality.effects.fingerprinting",
    "add": "universality.effects.changes",
    "add_one_each": "universality.effects.changes",
    "addition_fingerprints": "universality.effects.fingerprinting",
    "check_effect": "universality.effects.interventions",
    "check_sae": "universality.effects.interventions",
    "clamp": "universality.effects.changes",
    "clamp_one_each": "universality.effects.changes",
    "collect_effects": "universality.effects.first_order",
    "edited_logits": "universality.effects.interventions",
    "edited_losses": "universality.effects.interventions",
    "exact_effects": "universality.effects.exact",
    "jacobian_spread": "universality.effects.jacobian_estimation",
    "mean_jacobian": "universality.effects.jacobian_estimation",
    "mean_probabilities": "universality.effects.fingerprinting",
    "measure_loss_changes": "universality.effects.loss_changes",
    "measure_pair_effects": "universality.effects.comparing_pairs",
    "multiply": "universality.effects.changes",
    "of_maximum": "universality.effects.changes",
    "pair_fingerprints": "universality.effects.fingerprinting",
    "random_positions": "universality.effects.contexts",
    "read_gradient_norms": "universality.effects.firing_sample",
    "replace_codes": "universality.effects.changes",
    "sample_firings": "universality.effects.firing_sample",
    "share_of_kind": "universality.effects.kind_classifier",
    "write": "universality.effects.generation",
}
__all__ = [
    "Accuracy",
    "Change",
    "ExactEffects",
    "FingerprintSettings",
    "Fingerprints",
    "FiringSample",
    "Intervention",
    "JacobianSpread",
    "KindClassifier",
    "LossChanges",
    "MeanJacobian",
    "ModelFeatures",
    "PairEffects",
    "TokenSet",
    "ablate",
    "ablate_all_but",
    "ablate_one_each",
    "ablation_fingerprints",
    "add",
    "add_one_each",
    "addition_fingerprints",
    "check_effect",
    "check_sae",
    "clamp",
    "clamp_one_each",
    "collect_effects",
    "edited_logits",
    "edited_losses",
    "exact_effects",
    "jacobian_spread",
    "mean_jacobian",
    "mean_probabilities",
    "measure_loss_changes",
    "measure_pair_effects",
    "multiply",
    "of_maximum",
    "pair_fingerprints",
    "random_positions",
    "read_gradient_norms",
    "replace_codes",
    "sample_firings",
    "share_of_kind",
    "write",
]


def __getattr__(name: str) -> Any:
    return import_name(__name__, name, _HOME)

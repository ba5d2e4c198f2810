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
        multiply,
        of_maximum,
        replace_codes,
    )
    from universality.effects.contexts import random_positions
    from universality.effects.fingerprinting import (
        FingerprintSettings,
        ablation_fingerprints,
        addition_fingerprints,
        mean_probabilities,
        pair_fingerprints,
    )
    from universality.effects.fingerprints import (
        Fingerprints,
        TokenSet,
    )
    from universality.effects.interventions import (
        Intervention,
        check_effect,
        check_sae,
        edited_logits,
        edited_losses,
    )
    from universality.effects.jacobian import (
        JacobianSpread,
        MeanJacobian,
    )
    from universality.effects.jacobian_estimation import (
        jacobian_spread,
        mean_jacobian,
    )
    from universality.effects.model_features import ModelFeatures

_HOME = {
    "Change": "universality.effects.changes",
    "FingerprintSettings": "universality.effects.fingerprinting",
    "Fingerprints": "universality.effects.fingerprints",
    "Intervention": "universality.effects.interventions",
    "JacobianSpread": "universality.effects.jacobian",
    "MeanJacobian": "universality.effects.jacobian",
    "ModelFeatures": "universality.effects.model_features",
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
    "edited_logits": "universality.effects.interventions",
    "edited_losses": "universality.effects.interventions",
    "jacobian_spread": "universality.effects.jacobian_estimation",
    "mean_jacobian": "universality.effects.jacobian_estimation",
    "mean_probabilities": "universality.effects.fingerprinting",
    "multiply": "universality.effects.changes",
    "of_maximum": "universality.effects.changes",
    "pair_fingerprints": "universality.effects.fingerprinting",
    "random_positions": "universality.effects.contexts",
    "replace_codes": "universality.effects.changes",
}
__all__ = [
    "Change",
    "FingerprintSettings",
    "Fingerprints",
    "Intervention",
    "JacobianSpread",
    "MeanJacobian",
    "ModelFeatures",
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
    "edited_logits",
    "edited_losses",
    "jacobian_spread",
    "mean_jacobian",
    "mean_probabilities",
    "multiply",
    "of_maximum",
    "pair_fingerprints",
    "random_positions",
    "replace_codes",
]


def __getattr__(name: str) -> Any:
    return import_name(__name__, name, _HOME)

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
        clamp,
        multiply,
        of_maximum,
        replace_codes,
    )
    from universality.effects.exact import exact_effects
    from universality.effects.firing_sample import (
        Accuracy,
        ExactEffects,
        FiringSample,
        read_gradient_norms,
        sample_firings,
    )
    from universality.effects.first_order import collect_effects
    from universality.effects.interventions import (
        Intervention,
        check_effect,
        check_sae,
        edited_logits,
        edited_losses,
    )

_CHANGES, _INTERVENTIONS = "universality.effects.changes", "universality.effects.interventions"
_FIRING_SAMPLE = "universality.effects.firing_sample"
_HOME = {
    "Accuracy": _FIRING_SAMPLE,
    "Change": _CHANGES,
    "ExactEffects": _FIRING_SAMPLE,
    "FiringSample": _FIRING_SAMPLE,
    "Intervention": _INTERVENTIONS,
    "ablate": _CHANGES,
    "ablate_all_but": _CHANGES,
    "ablate_one_each": _CHANGES,
    "add": _CHANGES,
    "check_effect": _INTERVENTIONS,
    "check_sae": _INTERVENTIONS,
    "clamp": _CHANGES,
    "collect_effects": "universality.effects.first_order",
    "edited_logits": _INTERVENTIONS,
    "edited_losses": _INTERVENTIONS,
    "exact_effects": "universality.effects.exact",
    "multiply": _CHANGES,
    "of_maximum": _CHANGES,
    "read_gradient_norms": _FIRING_SAMPLE,
    "replace_codes": _CHANGES,
    "sample_firings": _FIRING_SAMPLE,
}
__all__ = [
    "Accuracy",
    "Change",
    "ExactEffects",
    "FiringSample",
    "Intervention",
    "ablate",
    "ablate_all_but",
    "ablate_one_each",
    "add",
    "check_effect",
    "check_sae",
    "clamp",
    "collect_effects",
    "edited_logits",
    "edited_losses",
    "exact_effects",
    "multiply",
    "of_maximum",
    "read_gradient_norms",
    "replace_codes",
    "sample_firings",
]


def __getattr__(name: str) -> Any:
    return import_name(__name__, name, _HOME)

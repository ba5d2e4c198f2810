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
    from universality.effects.generation import write
    from universality.effects.interventions import (
        Intervention,
        check_effect,
        check_sae,
        edited_logits,
        edited_losses,
    )

_CHANGES, _INTERVENTIONS = "universality.effects.changes", "universality.effects.interventions"
_GENERATION = "universality.effects.generation"
_HOME = {
    "Change": _CHANGES,
    "Intervention": _INTERVENTIONS,
    "ablate": _CHANGES,
    "ablate_all_but": _CHANGES,
    "ablate_one_each": _CHANGES,
    "add": _CHANGES,
    "check_effect": _INTERVENTIONS,
    "check_sae": _INTERVENTIONS,
    "clamp": _CHANGES,
    "edited_logits": _INTERVENTIONS,
    "edited_losses": _INTERVENTIONS,
    "multiply": _CHANGES,
    "of_maximum": _CHANGES,
    "replace_codes": _CHANGES,
    "write": _GENERATION,
}
__all__ = [
    "Change",
    "Intervention",
    "ablate",
    "ablate_all_but",
    "ablate_one_each",
    "add",
    "check_effect",
    "check_sae",
    "clamp",
    "edited_logits",
    "edited_losses",
    "multiply",
    "of_maximum",
    "replace_codes",
    "write",
]


def __getattr__(name: str) -> Any:
    return import_name(__name__, name, _HOME)

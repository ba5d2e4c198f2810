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
    from universality.effects.kind_classifier import KindClassifier, share_of_kind
    from universality.effects.loss_changes import LossChanges, measure_loss_changes

_CHANGES, _INTERVENTIONS = "universality.effects.changes", "universality.effects.interventions"
_GENERATION, _KINDS = "universality.effects.generation", "universality.effects.kind_classifier"
_LOSSES = "universality.effects.loss_changes"
_HOME = {
    "Change": _CHANGES,
    "Intervention": _INTERVENTIONS,
    "KindClassifier": _KINDS,
    "LossChanges": _LOSSES,
    "ablate": _CHANGES,
    "ablate_all_but": _CHANGES,
    "ablate_one_each": _CHANGES,
    "add": _CHANGES,
    "check_effect": _INTERVENTIONS,
    "check_sae": _INTERVENTIONS,
    "clamp": _CHANGES,
    "edited_logits": _INTERVENTIONS,
    "edited_losses": _INTERVENTIONS,
    "measure_loss_changes": _LOSSES,
    "multiply": _CHANGES,
    "of_maximum": _CHANGES,
    "replace_codes": _CHANGES,
    "share_of_kind": _KINDS,
    "write": _GENERATION,
}
__all__ = [
    "Change",
    "Intervention",
    "KindClassifier",
    "LossChanges",
    "ablate",
    "ablate_all_but",
    "ablate_one_each",
    "add",
    "check_effect",
    "check_sae",
    "clamp",
    "edited_logits",
    "edited_losses",
    "measure_loss_changes",
    "multiply",
    "of_maximum",
    "replace_codes",
    "share_of_kind",
    "write",
]


def __getattr__(name: str) -> Any:
    return import_name(__name__, name, _HOME)

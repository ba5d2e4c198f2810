"""Figures as functions that take matplotlib axes and return them, for notebooks and figures of your own.

Each function draws into ``ax``, or into new axes without it, and reads only the features that it draws. The figures of
a report are made of the same drawings. matplotlib is imported when one of them is first used.
"""

from typing import TYPE_CHECKING, Any

from universality.extras import import_name

if TYPE_CHECKING:
    from universality.plot.effects_by_similarity import effects
    from universality.plot.family_boxes import family
    from universality.plot.icicle_rows import icicle
    from universality.plot.joint_activation import pair
    from universality.plot.joint_points import map
    from universality.plot.loss_by_threshold import carried_loss
    from universality.plot.matrix import heatmap
    from universality.plot.survival import ecdf
    from universality.plot.transfer_by_similarity import label_transfer

_HOME = {
    "carried_loss": "universality.plot.loss_by_threshold",
    "ecdf": "universality.plot.survival",
    "effects": "universality.plot.effects_by_similarity",
    "family": "universality.plot.family_boxes",
    "heatmap": "universality.plot.matrix",
    "icicle": "universality.plot.icicle_rows",
    "label_transfer": "universality.plot.transfer_by_similarity",
    "map": "universality.plot.joint_points",
    "pair": "universality.plot.joint_activation",
}
__all__ = ["carried_loss", "ecdf", "effects", "family", "heatmap", "icicle", "label_transfer", "map", "pair"]


def __getattr__(name: str) -> Any:
    return import_name(__name__, name, _HOME)

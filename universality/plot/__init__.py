"""Figures as functions that take matplotlib axes and return them, for notebooks and figures of your own.

Each function draws into ``ax``, or into new axes without it, and reads only the features that it draws. They take
results that are in memory (`Calibration`, `Families`), stores, or pandas tables of these or of a part of them. The
figures of a report are made of the same drawings: its file ``held_out.png`` is `held_out`, ``best_match.png`` is `ecdf`
and ``clustered.png`` is `heatmap` with ``clustered=True``. matplotlib is imported when one of them is first used.
"""

from typing import TYPE_CHECKING, Any

from universality.extras import import_name

if TYPE_CHECKING:
    from universality.plot.class_boxes import strata
    from universality.plot.decoder_norms import crosscoder
    from universality.plot.effects_by_similarity import effects
    from universality.plot.family_boxes import family
    from universality.plot.firing_rates import densities
    from universality.plot.icicle_rows import icicle
    from universality.plot.joint_activation import pair
    from universality.plot.joint_points import map
    from universality.plot.kind_dots import concepts
    from universality.plot.loss_by_threshold import carried_loss
    from universality.plot.matched_share import coverage
    from universality.plot.matrix import heatmap
    from universality.plot.median_by_firings import consistency
    from universality.plot.pair_points import held_out, logit
    from universality.plot.survival import ecdf
    from universality.plot.training_log import training
    from universality.plot.transfer_by_similarity import label_transfer
    from universality.plot.width_rates import splitting

_HOME = {
    "carried_loss": "universality.plot.loss_by_threshold",
    "concepts": "universality.plot.kind_dots",
    "consistency": "universality.plot.median_by_firings",
    "coverage": "universality.plot.matched_share",
    "crosscoder": "universality.plot.decoder_norms",
    "densities": "universality.plot.firing_rates",
    "ecdf": "universality.plot.survival",
    "effects": "universality.plot.effects_by_similarity",
    "family": "universality.plot.family_boxes",
    "heatmap": "universality.plot.matrix",
    "held_out": "universality.plot.pair_points",
    "icicle": "universality.plot.icicle_rows",
    "label_transfer": "universality.plot.transfer_by_similarity",
    "logit": "universality.plot.pair_points",
    "map": "universality.plot.joint_points",
    "pair": "universality.plot.joint_activation",
    "splitting": "universality.plot.width_rates",
    "strata": "universality.plot.class_boxes",
    "training": "universality.plot.training_log",
}
__all__ = [
    "carried_loss",
    "concepts",
    "consistency",
    "coverage",
    "crosscoder",
    "densities",
    "ecdf",
    "effects",
    "family",
    "heatmap",
    "held_out",
    "icicle",
    "label_transfer",
    "logit",
    "map",
    "pair",
    "splitting",
    "strata",
    "training",
]


def __getattr__(name: str) -> Any:
    return import_name(__name__, name, _HOME)

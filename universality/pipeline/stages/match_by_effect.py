"""Matching by first-order effects, a part of the stage ``effects``.

All effects are of the reporting half, so its documents are divided anew: one part chooses partners, the other reports.
Over all tokens, on most of which features are silent and their effects 0, r mostly measures firing together.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from universality.config import Config
from universality.execution import connected
from universality.pipeline.open_stores import OpenStores
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.match_features import with_own_ceilings
from universality.pipeline.study import Comparison, effect_comparisons, matching_device

if TYPE_CHECKING:
    from universality.statistics import Calibration

OVER_ALL_TOKENS = (
    "Scores are Pearson's r of first-order effects over all tokens, 0 where a feature is silent: they mostly measure "
    "firing together, and do not show that partners do the same where both fire, which effect_r does where it is known"
)
"""Note for readers of an exported matching by effect."""


def match_by_effect(
    config: Config, folder: RunFolder, comparison: Comparison, stores: tuple[Path, Path]
) -> Path | None:
    """Match two stores of effects, calibrate the match, and save it.

    Returns
    -------
    Path or None
        File of the calibration; None where the documents cannot be divided.
    """
    from universality.statistics import calibrate, equal_halves

    path = folder.effect_calibration(comparison.name)
    path.parent.mkdir(exist_ok=True)
    with OpenStores() as opened, connected(config.scheduler) as executor:
        a, b = (opened[store] for store in stores)
        halves = equal_halves(a, config.statistics.seed)
        if not halves.choose.size or not halves.report.size:
            return None
        # One null of the run's, its first, which gives p and q: the second would double the time.
        settings = config.statistics.for_calibrate() | {"null": config.statistics.nulls[0]}
        where: dict[str, Any] = {"executor": executor, "device": matching_device(config)}
        calibration = calibrate(a, b, "effect", halves=halves, **settings, **where)
    return with_own_ceilings(config, folder, comparison, calibration, folder.effect_calibration).save(path)


def read_effect_match(config: Config, folder: RunFolder, comparison: Comparison) -> Calibration | None:
    """Load a comparison's matching by effect; None where this configuration makes none."""
    from universality.statistics import Calibration

    path = folder.effect_calibration(comparison.name)
    made = config.effects.match and comparison in effect_comparisons(config, folder)
    return Calibration.load(path) if made and path.exists() else None

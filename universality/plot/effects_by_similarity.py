"""Agreement of the effects of matched features against the similarity of their activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.plot.style import BLUE, GREEN, INK, PALE, PURPLE, legend_beside, new_axes, say, styled

if TYPE_CHECKING:
    from universality.statistics import Calibration, EffectAgreement

LEVEL = 0.05
"""Level of q at or below which a pair's effects agree beyond chance."""
BINS, LEAST = 8, 5
"""Most classes of equal number by activation r of which medians are drawn, and the fewest pairs of one."""


@dataclass(frozen=True, eq=False)
class EffectPoints:
    """Numbers of matched pairs, arrays [n_pairs] with NaN where one is not known.

    Parameters
    ----------
    activation_r
        Held-out r of the activations.
    effect_r, q
        r of the effects per gradient norm where both fire, and its q.
    null_r, control_r
        The same r if slopes are unrelated, and the median over features of B that fire as often with A's feature.
    ceiling
        The lower of the two ceilings: ``effect_r`` of each feature with its partner in a second SAE of its own model.
    """

    activation_r: FloatArray
    effect_r: FloatArray
    q: FloatArray
    null_r: FloatArray
    control_r: FloatArray
    ceiling: FloatArray

    @classmethod
    def of(cls, agreement: EffectAgreement, calibration: Calibration) -> EffectPoints:
        """Join the effects of pairs with their activation r."""
        held_out = calibration.to_frame()[["row", "col", "held_out"]]
        pairs = held_out.merge(agreement.to_frame(), on=["row", "col"], how="inner")
        ceilings = pairs[[name for name in ("ceiling_a", "ceiling_b") if name in pairs]]
        lower = ceilings.min(axis=1) if ceilings.shape[1] else np.full(len(pairs), np.nan)
        return cls(
            activation_r=pairs["held_out"].to_numpy(np.float64),
            effect_r=pairs["r_per_norm"].to_numpy(np.float64),
            q=pairs["q"].to_numpy(np.float64),
            null_r=pairs["null_r"].to_numpy(np.float64),
            control_r=pairs["control_r"].to_numpy(np.float64),
            ceiling=np.asarray(lower, np.float64),
        )


@styled
def effects(agreement: EffectAgreement, calibration: Calibration, *, ax: Axes | None = None) -> Axes:
    """Plot the agreement of the effects of matched pairs against the r of their activations.

    Points are pairs; dark ones agree beyond chance (q ≤ 0.05). Lines are medians over pairs of similar activation r: of
    the pairs, of their null, of features that fire alike, and of the ceilings.

    Parameters
    ----------
    agreement
        Result of `universality.statistics.compare_effects`; its ceilings are drawn if `with_ceilings` added them.
    calibration
        Calibration of the same matching, for the held-out r of the activations.
    ax
        Axes to draw into; new ones by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.
    """
    axes = new_axes(5.4, 3.3) if ax is None else ax
    draw_effects(axes, EffectPoints.of(agreement, calibration))
    return axes


def draw_effects(axes: Axes, pairs: EffectPoints) -> None:
    """Draw the pairs that have both numbers, and medians of what they are compared with."""
    both = np.isfinite(pairs.activation_r) & np.isfinite(pairs.effect_r)
    low = min(0.0, float(pairs.activation_r[both].min())) if both.any() else 0.0
    axes.set(xlim=(low - 0.03, 1.03), ylim=(-1.03, 1.03))
    axes.set(xlabel="activation r of the pair (held-out tokens)", ylabel="r of effects per norm, where both fire")
    axes.axhline(0, color=PALE, linewidth=0.7, zorder=0)
    if not both.any():
        say(axes, "no pair was compared")
        return
    agree = both & (pairs.q <= LEVEL)  # False where q is NaN
    for which, colour, label in ((both & ~agree, "#B5B5B5", "other pairs"), (agree, "#7FB8D8", "agree, q ≤ 0.05")):
        axes.scatter(
            pairs.activation_r[which], pairs.effect_r[which], color=colour, s=6, linewidths=0, zorder=2,
            rasterized=int(both.sum()) > 3000, label=f"{label} ({int(which.sum()):,})",
        )  # fmt: skip
    lines = (
        ("median of the pairs", pairs.effect_r, BLUE, "-", "o"),
        ("null: unrelated slopes", pairs.null_r, INK, (0, (1, 1)), "x"),
        ("controls: fire alike", pairs.control_r, PURPLE, (0, (2.5, 1)), "v"),
        ("ceiling: two SAE seeds", pairs.ceiling, GREEN, (0, (6, 1.5)), "D"),
    )
    classes = _classes(pairs.activation_r, both)
    for label, values, colour, dashes, marker in lines:
        at, medians = _medians(pairs.activation_r, values, classes)
        if at.size:
            axes.plot(
                at, medians, color=colour, linestyle=dashes, marker=marker, markersize=4.5,
                markeredgecolor="white" if marker != "x" else colour, label=label, zorder=4,
            )  # fmt: skip
    legend_beside(axes)


def _classes(activation_r: FloatArray, both: BoolArray) -> list[IntArray]:
    """Cut the pairs that have both numbers into classes of equal number by activation r."""
    order = np.flatnonzero(both)[np.argsort(activation_r[both], kind="stable")]
    return np.array_split(order, max(1, min(BINS, order.size // LEAST)))


def _medians(at: FloatArray, values: FloatArray, classes: list[IntArray]) -> tuple[FloatArray, FloatArray]:
    """Return the median activation r and the median value of each class with enough values."""
    known = [(part, part[np.isfinite(values[part])]) for part in classes]
    points = [(np.median(at[part]), np.median(values[seen])) for part, seen in known if seen.size >= LEAST]
    x, y = zip(*points, strict=True) if points else ((), ())
    return np.asarray(x, np.float64), np.asarray(y, np.float64)

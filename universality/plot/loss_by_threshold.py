"""Loss that an SAE's shared features recover, by the least r that counts as shared, beside random subsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from universality.arrays import FloatArray
from universality.errors import UniversalityError
from universality.plot.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LINE,
    ORANGE,
    PURPLE,
    SKY,
    in_legend,
    legend_beside,
    new_axes,
    say,
    styled,
)

if TYPE_CHECKING:
    from universality.statistics import SharedLoss

LOOK: dict[str, tuple[str, Any, str]] = {
    "shared": (BLUE, "-", "o"),
    "unshared": (SKY, (0, (4, 1.2, 1, 1.2)), "s"),
    "ceiling": (GREEN, (0, (6, 1.5)), "D"),
    "same mass": (ORANGE, (0, (2.5, 1)), "^"),
    "same density": (PURPLE, (0, (2.5, 1)), "v"),
    "same number": (GREY, (0, (2.5, 1)), "<"),
    "none": (INK, (0, (1, 1)), ""),
}
"""Role of a curve → colour, dashes and marker."""
LABELS = {
    "shared": "features with a partner in {}",
    "unshared": "features without one",
    "ceiling": "features with a partner in {}",
    "same mass": "random features of equal mass",
    "same density": "random features of equal density",
    "same number": "as many random features",
    "none": "no feature (b_dec alone)",
}


@dataclass(frozen=True, eq=False)
class LossCurve:
    """Recovered loss of one kind of subset at each threshold.

    Parameters
    ----------
    role
        A key of ``LOOK``.
    label
        Name in the legend.
    threshold, recovered, low, high
        [n] least r of a partner, share of the recovered loss, and its 95% interval; NaN where there is none.
    """

    role: str
    label: str
    threshold: FloatArray
    recovered: FloatArray
    low: FloatArray
    high: FloatArray


@styled
def carried_loss(
    found: SharedLoss,
    partners: str | None = None,
    *,
    ceiling: str | None = None,
    error_kept: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw the loss that shared features alone recover against the least r that counts as shared.

    Beside them are the features that are not shared, random subsets of equal mass, density and number, and no feature
    at all. Bars are 95% intervals over groups of documents.

    Parameters
    ----------
    found
        Result of `universality.statistics.shared_loss`.
    partners
        Dictionary that the partners are in; by default the first one that is not the ceiling.
    ceiling
        Dictionary of a second SAE seed of the same model, drawn as a ceiling.
    error_kept
        Whether to draw the losses with the SAE's error kept.
    ax
        Axes to draw into; new ones by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    UniversalityError
        If the result holds no such dictionary.
    """
    named = [name for name in dict.fromkeys(row.partners for row in found.rows) if name]
    partners = next((name for name in named if name != ceiling), None) if partners is None else partners
    unknown = [name for name in (partners, ceiling) if name is not None and name not in named]
    if partners is None or unknown:
        raise UniversalityError(f"carried_loss: no partners {unknown or 'but the ceiling'}; measured were {named}")
    axes = new_axes(5.4, 3.1) if ax is None else ax
    draw_carried(axes, loss_curves(found, partners, ceiling, error_kept))
    return axes


def loss_curves(
    found: SharedLoss, partners: str, ceiling: str | None = None, error_kept: bool = False
) -> list[LossCurve]:
    """Collect the curves of a result, in the order of the legend."""
    return list(_curves(found, partners, ceiling, error_kept))


def _curves(found: SharedLoss, partners: str, ceiling: str | None, error_kept: bool) -> Iterator[LossCurve]:
    thresholds = sorted({row.threshold for row in found.rows if row.partners == partners})
    for role in LOOK:
        name = {"ceiling": ceiling, "none": ""}.get(role, partners)
        if name is None:
            continue
        rows = [found.row(name, t, "shared" if role == "ceiling" else role, error_kept) for t in thresholds]
        yield LossCurve(
            role,
            LABELS[role].format(name),
            np.asarray(thresholds),
            *(np.array([getattr(row, column) for row in rows]) for column in _NUMBERS),
        )


_NUMBERS = ("recovered", "recovered_low", "recovered_high")


def draw_carried(axes: Axes, curves: Sequence[LossCurve]) -> None:
    """Draw one curve each; points without a number are left out."""
    thresholds = np.unique(np.concatenate([curve.threshold for curve in curves])) if curves else np.zeros(0)
    if not any(np.isfinite(curve.recovered).any() for curve in curves):
        say(axes, "nothing was measured")
        return
    span = float(np.ptp(thresholds)) or 0.2
    marked = [curve.role for curve in curves if LOOK[curve.role][2]]
    for curve in curves:
        colour, dashes, marker = LOOK[curve.role]
        if not marker:
            axes.axhline(float(curve.recovered[0]), color=colour, linestyle=dashes, linewidth=0.9, zorder=1)
            axes.plot([], [], color=colour, linestyle=dashes, linewidth=0.9, label=in_legend(curve.label, LINE))
            continue
        # beside each other, so that intervals do not hide one another
        shift = (marked.index(curve.role) - (len(marked) - 1) / 2) * 0.012 * span
        size = np.stack([curve.recovered - curve.low, curve.high - curve.recovered])
        axes.errorbar(
            curve.threshold + shift, curve.recovered, np.clip(np.nan_to_num(size), 0, None), color=colour,
            linestyle=dashes, marker=marker, markersize=4.5, markeredgecolor="white", markeredgewidth=0.6, capsize=2,
            elinewidth=0.9, capthick=0.9, zorder=4 if curve.role == "shared" else 3,
            label=in_legend(curve.label, LINE),
        )  # fmt: skip
    axes.set_xticks(thresholds, labels=[f"{threshold:g}" for threshold in thresholds])
    axes.set_xlim(thresholds.min() - 0.12 * span, thresholds.max() + 0.12 * span)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.0), max(high, 1.03))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="shared: partner with r of at least", ylabel="share of the SAE's recovered loss")
    legend_beside(axes, *legend_entries(axes, curves))


def legend_entries(axes: Axes, curves: Sequence[LossCurve]) -> tuple[list[Any], list[str]]:
    """Return handles and labels in the order of the curves; matplotlib puts lines before points with bars."""
    drawn = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    labels = [in_legend(curve.label, LINE) for curve in curves]
    return [drawn[label] for label in labels], labels

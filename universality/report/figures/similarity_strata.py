"""Figure of similarity by firing count: rare features match by luck, or not at all."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from universality.errors import UniversalityError
from universality.formatting import count, fixed, plural
from universality.plot.style import BLUE, COLUMN, GREY, INK, PALE, new_figure, say, styled
from universality.report.data import LEAST_DIFFERENCE, Caption

Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Stratum:
    """Pairs of one class of firing counts.

    Parameters
    ----------
    low, high
        Counts are at least ``low`` and below ``high``.
    r
        [n_pairs] held-out r of the scored pairs.
    null_quantile
        95% quantile of the null's scores in this class; NaN without a null.
    """

    low: float
    high: float
    r: Values
    null_quantile: float = float("nan")

    @property
    def label(self) -> str:
        """Range of counts in short form: ``1k–3.2k``."""
        return f"{_short(self.low)}+" if np.isinf(self.high) else f"{_short(self.low)}–{_short(self.high)}"


def strata(
    firings: ArrayLike, r: ArrayLike, edges: ArrayLike | None = None, null_quantiles: ArrayLike | None = None
) -> tuple[Stratum, ...]:
    """Divide pairs into classes of firing counts; pairs without r and classes without pairs are left out.

    Parameters
    ----------
    firings, r
        [n_pairs] firings of the pair's rarer feature, and its held-out r.
    edges
        [n_strata + 1] rising counts (the last may be infinite), as ``Calibration.edges``; half decades by default.
    null_quantiles
        [n_strata] 95% quantile of the null in each class, as in ``Calibration.strata()``.
    """
    counts, scores = np.asarray(firings, dtype=np.float64).ravel(), np.asarray(r, dtype=np.float64).ravel()
    if counts.size != scores.size:
        raise UniversalityError(f"expected a firing count for every pair, found {counts.size} for {scores.size} pairs")
    bounds = _half_decades(counts) if edges is None else np.asarray(edges, dtype=np.float64)
    n = max(0, bounds.size - 1)
    quantiles = np.full(n, np.nan) if null_quantiles is None else np.asarray(null_quantiles, dtype=np.float64)
    if quantiles.size != n:
        raise UniversalityError(f"expected a null quantile for each of {n} strata, found {quantiles.size}")
    classes = []
    for low, high, quantile in zip(bounds[:-1], bounds[1:], quantiles, strict=True):
        inside = scores[(counts >= low) & (counts < high) & ~np.isnan(scores)]
        if inside.size:
            classes.append(Stratum(float(low), float(high), inside, float(quantile)))
    return tuple(classes)


def _half_decades(counts: Values) -> Values:
    positive = counts[counts > 0]
    if not positive.size:
        return np.zeros(0)
    first, last = np.floor(2 * np.log10(positive.min())), np.floor(2 * np.log10(positive.max())) + 1
    return np.asarray(10.0 ** (np.arange(first, last + 1) / 2))


@styled
def similarity_by_firings(classes: tuple[Stratum, ...]) -> Figure:
    """Draw a box per class with median, quartiles, and whiskers from 5% to 95%, beside the null's quantile.

    Parameters
    ----------
    classes
        Classes as returned by ``strata``.
    """
    figure = new_figure(COLUMN * 1.45, 2.9)
    axes = figure.subplots()
    axes.axhline(0, color=PALE, linewidth=0.7, zorder=0)
    axes.set(xlabel="firings of the pair's rarer feature", ylabel="held-out r")
    if not classes:
        say(axes, "no pairs")
        return figure
    boxes = [_box(stratum) for stratum in classes]
    axes.bxp(
        boxes,
        showfliers=False,
        widths=0.62,
        patch_artist=True,
        boxprops={"facecolor": "#CFE3F1", "edgecolor": BLUE, "linewidth": 0.8},
        medianprops={"color": BLUE, "linewidth": 1.8},
        whiskerprops={"color": BLUE, "linewidth": 0.8},
        capprops={"color": BLUE, "linewidth": 0.8},
    )
    places = np.arange(1, len(classes) + 1)
    null = np.array([stratum.null_quantile for stratum in classes])
    if np.isfinite(null).any():
        axes.plot(places, null, "_", color=INK, markersize=14, markeredgewidth=1.4, label="95% of the null lies below")
        figure.legend(loc="outside upper right", handlelength=1.2)
    axes.set_xticks(
        places, [stratum.label for stratum in classes], rotation=30 if len(classes) > 8 else 0, fontsize=6.5
    )
    for place, stratum in zip(places, classes, strict=True):
        axes.annotate(
            f"n={count(stratum.r.size)}",
            (place, 1.0),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="bottom",
            fontsize=6,
            color=GREY,
        )
    lowest = min(float(box["whislo"]) for box in boxes)
    axes.set_ylim(min(-0.05, lowest - 0.05), 1.02)
    return figure


def _box(stratum: Stratum) -> dict[str, Any]:
    low, first, median, third, high = np.quantile(stratum.r, (0.05, 0.25, 0.5, 0.75, 0.95))
    return {"whislo": low, "q1": first, "med": median, "q3": third, "whishi": high, "fliers": []}


def _short(value: float) -> str:
    """``316``, ``3.2k``, ``1.2M``."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}{letter}" if value < 10 * size else f"{value / size:.0f}{letter}"
    return f"{value:.0f}"


def describe_strata(classes: tuple[Stratum, ...]) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    text = (
        "Held-out r of scored pairs by how often the rarer of the two features fires: medians, quartiles, and "
        "whiskers from 5% to 95% of pairs. Short black lines, where given, are 95% quantiles of the null."
    )
    if not classes:
        return Caption(text, "Box plot: no pairs.")
    first, last = float(np.median(classes[0].r)), float(np.median(classes[-1].r))
    word = "as similar as"
    if abs(last - first) > LEAST_DIFFERENCE:
        word = "more similar than" if last > first else "less similar than"
    if len(classes) > 1:
        text += f" The commonest features are {word} the rarest ({fixed(last)} against {fixed(first)})."
    rows = [
        f"{s.label} firings: median {fixed(float(np.median(s.r)))} over {plural(s.r.size, 'pair')}" for s in classes
    ]
    return Caption(text, f"Box plot. {'; '.join(rows)}.")

"""Share of features that have a partner of at least this r: features, chance and ceilings together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from universality.formatting import fixed, of_all
from universality.matching.medians import median_of_all
from universality.plot.populations import Population, Populations, looks, populations_of
from universality.plot.style import LINE, PALE, in_legend, legend_beside, new_axes, say, styled
from universality.statistics.calibration import THRESHOLDS, Calibration

if TYPE_CHECKING:
    from universality.arrays import FloatArray


@styled
def ecdf(
    scores: Populations,
    *,
    ceilings: Mapping[str, Calibration] | None = None,
    label: str = "SAE features",
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of features whose partner has at least a given r, with medians marked.

    Features without a partner, or too rare to score, count in the share, so a curve may start below 100%. The median
    counts the same features: it is where the curve crosses one half.

    Parameters
    ----------
    scores
        A calibration, whose held-out scores, null and ceilings become curves; or scores [n], with NaN for features
        without one; or name → calibration or scores. The names "features", "ceiling", "neurons" and "null" have the
        look that they have in a report. Or populations with the attributes of `universality.report.Sample`.
    ceilings
        Name → calibration of two SAE seeds of one model, drawn as ceilings; by default the ceilings of the matched
        features that the calibration holds (`Calibration.with_ceilings`).
    label
        Name of the features in the legend.
    ax
        Axes to draw into; new ones by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    UniversalityError
        If ceilings are given without a calibration.

    Examples
    --------
    >>> axes = ecdf({"features": [0.2, 0.8, 0.9, float("nan")], "null": [0.0, 0.1]})
    >>> axes.lines[3].get_ydata().tolist()
    [0.75, 0.5, 0.25]
    """
    drawn = populations_of(scores, ceilings, label, "ecdf")
    axes = new_axes(5.4, 3.1) if ax is None else ax
    draw_survival(axes, drawn)
    return axes


def draw_survival(axes: Axes, populations: Sequence[Population]) -> None:
    """Draw one curve a population; those without a score are named in the legend only."""
    for threshold in THRESHOLDS:
        axes.axvline(threshold, color=PALE, linewidth=0.7, zorder=0)
    axes.axhline(0.5, color=PALE, linewidth=0.7, zorder=0)
    lowest, nothing = 0.0, True
    of_each = looks([population.role for population in populations])
    for population, (colour, dashes) in zip(populations, of_each, strict=True):
        x, y = survival(population)
        median = median_of_all(x, population.values.size + population.without)
        axes.plot(x, y, color=colour, linestyle=dashes, label=_label(population, x.size, median))
        if x.size:
            nothing, lowest = False, min(lowest, float(x[0]))
            # The median is NaN, and there is no dot, where the curve starts at one half or below.
            height = float(np.interp(median, x, y))
            axes.plot(median, height, "o", color=colour, markersize=4.5, markeredgecolor="white", zorder=5)
    if nothing:
        say(axes, "nothing was scored")
    axes.set(xlim=(max(-1.0, lowest) - 0.02, 1.02), ylim=(0, 1.03))
    axes.set(xlabel="best-match r (Pearson, held-out tokens)", ylabel="share with at least this r")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    if populations:
        legend_beside(axes)


def survival(population: Population) -> tuple[FloatArray, FloatArray]:
    """Return rising r and the share of all features, unscored ones included, that reach it: [n_scored] each."""
    x = np.sort(population.values[~np.isnan(population.values)])
    n = population.values.size + population.without
    return x, (x.size - np.arange(x.size)) / max(1, n)


def _label(population: Population, n_scored: int, median: float) -> str:
    digits = 3 if population.role == "null" else 2
    scored = of_all(n_scored, population.values.size + population.without)
    return f"{in_legend(population.label, LINE)}\nmedian {fixed(median, digits)} ({scored})"

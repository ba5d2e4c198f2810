"""Share of features that have a partner of at least this r: features, chance and ceilings together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from universality.errors import UniversalityError
from universality.formatting import fixed, of_all
from universality.matching.medians import median_of_all
from universality.plot.style import (
    BLUE,
    GREEN,
    GREY,
    LINE,
    ORANGE,
    PALE,
    PURPLE,
    SKY,
    VERMILION,
    in_legend,
    new_axes,
    say,
    styled,
)
from universality.statistics.calibration import THRESHOLDS, Calibration

if TYPE_CHECKING:
    from universality.arrays import FloatArray

Scores: TypeAlias = npt.ArrayLike
LOOK: dict[str, tuple[str, Any]] = {
    "features": (BLUE, "-"),
    "ceiling": (GREEN, (0, (6, 1.5))),
    "neurons": (ORANGE, (0, (4, 1.2, 1, 1.2))),
    "null": (GREY, (0, (1, 1))),
    "control": (PURPLE, (0, (2.5, 1))),
}
"""Role of a population → colour and dashes of its curve."""
_MORE = ((BLUE, "-"), (VERMILION, "-"), (GREEN, "-"), (ORANGE, "-"), (PURPLE, "-"), (SKY, "-"))


class Population(Protocol):
    """Best-match correlations of one population."""

    @property
    def role(self) -> str:
        """Key of ``LOOK``, or any other text."""

    @property
    def label(self) -> str:
        """Name in the legend."""

    @property
    def values(self) -> FloatArray:
        """[n] r of each; NaN for those without a score."""

    @property
    def without(self) -> int:
        """Number of living features without a partner, which ``values`` leaves out."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A `Population` of plain values."""

    role: str
    label: str
    values: FloatArray
    without: int = 0


@styled
def ecdf(
    scores: Calibration | Scores | Mapping[str, Scores] | Sequence[Population],
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
        without one; or name → scores. The names "features", "ceiling", "neurons" and "null" have the look that they
        have in a report. Or populations with the attributes of `universality.report.Sample`.
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
    axes = new_axes(5.4, 3.1) if ax is None else ax
    if isinstance(scores, Calibration):
        curves: list[Any] = list(_of_calibration(scores, ceilings, label))
    elif ceilings:
        raise UniversalityError("ecdf: ceilings belong to a calibration; give other scores as name → scores")
    elif isinstance(scores, Sequence) and scores and all(hasattr(part, "role") for part in scores):
        curves = list(scores)
    else:
        named = scores if isinstance(scores, Mapping) else {label: scores}
        curves = [Curve(str(name), str(name), _numbers(name, values)) for name, values in named.items()]
    draw_survival(axes, curves)
    return axes


def draw_survival(axes: Axes, populations: Sequence[Population]) -> None:
    """Draw one curve a population; those without a score are named in the legend only."""
    for threshold in THRESHOLDS:
        axes.axvline(threshold, color=PALE, linewidth=0.7, zorder=0)
    axes.axhline(0.5, color=PALE, linewidth=0.7, zorder=0)
    lowest, nothing = 0.0, True
    more = iter(_MORE * (1 + len(populations) // len(_MORE)))
    for population in populations:
        x, y = survival(population)
        colour, dashes = LOOK.get(population.role) or next(more)
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
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), labelspacing=0.9)


def survival(population: Population) -> tuple[FloatArray, FloatArray]:
    """Return rising r and the share of all features, unscored ones included, that reach it: [n_scored] each."""
    x = np.sort(population.values[~np.isnan(population.values)])
    n = population.values.size + population.without
    return x, (x.size - np.arange(x.size)) / max(1, n)


def _label(population: Population, n_scored: int, median: float) -> str:
    digits = 3 if population.role == "null" else 2
    scored = of_all(n_scored, population.values.size + population.without)
    return f"{in_legend(population.label, LINE)}\nmedian {fixed(median, digits)} ({scored})"


def _of_calibration(
    calibration: Calibration, ceilings: Mapping[str, Calibration] | None, label: str
) -> Iterator[Curve]:
    """Yield the curves of a calibration, as a report draws them."""
    yield Curve("features", label, calibration.held_out, calibration.match.n_without_partner)
    if ceilings is None:
        for side, of_pairs in (("rows", calibration.ceiling_a), ("columns", calibration.ceiling_b)):
            if of_pairs is not None and np.isfinite(of_pairs).any():
                yield Curve("ceiling", f"ceilings of the matched {side}", of_pairs)
    for name, of_seeds in (ceilings or {}).items():
        yield Curve("ceiling", name, of_seeds.held_out, of_seeds.match.n_without_partner)
    scores = calibration.null_scores if calibration.chances else np.zeros(0)
    living = scores[~np.isnan(scores)]  # NaN: dead features, which no population counts
    if living.size:
        yield Curve("null", "null: re-paired text", np.where(np.isfinite(living), living, np.nan))


def _numbers(name: str, values: Any) -> FloatArray:
    try:
        return np.asarray(values, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        raise UniversalityError(
            f"ecdf: expected a calibration, scores [n], or name → scores; found {type(values).__name__} for {name!r}"
        ) from None

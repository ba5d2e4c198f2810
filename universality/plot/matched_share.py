"""Mean r of the best-matched share of the features, for every share: quality against coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from universality.plot.populations import Population, Populations, looks, populations_of
from universality.plot.style import LINE, in_legend, legend_beside, new_axes, say, styled

if TYPE_CHECKING:
    from universality.statistics import Calibration

Values = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class CoverageCurve:
    """Mean r of the best-matched features for every share of all features.

    Parameters
    ----------
    role, label
        As of `Population`.
    share, quality
        [n] rising shares of the features, and the mean r of the best-matched features up to that share.
    """

    role: str
    label: str
    share: Values
    quality: Values

    @classmethod
    def of(cls, population: Population) -> CoverageCurve:
        """Compute the curve of a population; features without a partner count in the share."""
        scored: Any = -np.sort(-population.values[~np.isnan(population.values)])
        ranks = np.arange(1, scored.size + 1)
        total = max(population.values.size + population.without, 1)
        return cls(population.role, population.label, ranks / total, np.cumsum(scored) / ranks)

    def at(self, share: float) -> float:
        """Return the mean r of the best-matched share of the features; NaN beyond the scored ones."""
        return float(np.interp(share, self.share, self.quality, right=np.nan)) if self.share.size else float("nan")


@styled
def coverage(
    scores: Populations,
    *,
    ceilings: Mapping[str, Calibration] | None = None,
    label: str = "SAE features",
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean r of the best-matched features against the share of all features that they make up.

    A line that is high on the left shows that some features are shared very well; a line that stays high, that most
    are. A line ends at the share that was scored. The null of a calibration is left
    out.

    Parameters
    ----------
    scores, ceilings, label
        As for `ecdf`.
    ax
        Axes to draw into; new ones by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    UniversalityError
        If ceilings are given without a calibration, or ``scores`` are no scores.

    Examples
    --------
    >>> axes = coverage({"features": [0.2, 0.8, float("nan"), float("nan")]})
    >>> axes.lines[0].get_xydata().tolist()
    [[0.25, 0.8], [0.5, 0.5]]
    """
    drawn = [part for part in populations_of(scores, ceilings, label, "coverage") if part.role != "null"]
    axes = new_axes(5.4, 3.1) if ax is None else ax
    if draw_coverage(axes, [CoverageCurve.of(population) for population in drawn]):
        legend_beside(axes)
    return axes


def draw_coverage(axes: Axes, curves: Sequence[CoverageCurve]) -> bool:
    """Draw one line a curve, from the best pair (left) to all scored pairs; return whether there are any pairs."""
    for curve, (colour, dashes) in zip(curves, looks([curve.role for curve in curves]), strict=True):
        axes.plot(curve.share, curve.quality, color=colour, linestyle=dashes, label=in_legend(curve.label, LINE))
    axes.set(xlabel="share of features, best matched first", ylabel="their mean held-out r", xlim=(0, 1.01))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(min(0.0, *(float(c.quality.min()) for c in curves if c.quality.size), 0.0), 1.02)
    drawn = any(curve.share.size for curve in curves)
    if not drawn:
        say(axes, "no pairs")
    return drawn

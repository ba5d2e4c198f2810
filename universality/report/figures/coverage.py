"""Quality against coverage: how alike is the best-matched share of the features, for every share?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from universality.formatting import fixed, listed, percent
from universality.plot.style import COLUMN, LINE, in_legend, new_figure, say, styled
from universality.plot.survival import LOOK
from universality.report.data import Caption, Role, Sample

Values = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class CoverageCurve:
    """Mean r of the best-matched features for every share of all features.

    Parameters
    ----------
    role, label
        As of `universality.report.data.Sample`.
    share, quality
        [n] rising shares of the features, and the mean r of the best-matched features up to that share.
    """

    role: Role
    label: str
    share: Values
    quality: Values

    def at(self, share: float) -> float:
        """Return the mean r of the best-matched share of the features; NaN beyond the scored ones."""
        return float(np.interp(share, self.share, self.quality, right=np.nan)) if self.share.size else float("nan")


def coverage_curve(sample: Sample) -> CoverageCurve:
    """Compute the curve of a sample; features without a partner count in the share."""
    scored = -np.sort(-sample.values[~np.isnan(sample.values)])
    ranks = np.arange(1, scored.size + 1)
    total = max(sample.values.size + sample.without, 1)
    return CoverageCurve(sample.role, sample.label, ranks / total, np.cumsum(scored) / ranks)


@styled
def quality_against_coverage(curves: Sequence[CoverageCurve]) -> Figure:
    """Draw one line per sample, from the best pair alone (left) to all scored pairs (right)."""
    figure = new_figure(COLUMN * 1.25, 2.9)
    axes = figure.subplots()
    for curve in curves:
        colour, dashes = LOOK[curve.role]
        axes.plot(curve.share, curve.quality, color=colour, linestyle=dashes, label=in_legend(curve.label, LINE))
    axes.set(xlabel="share of features, best matched first", ylabel="their mean held-out r", xlim=(0, 1.01))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(min(0.0, *(float(c.quality.min()) for c in curves if c.quality.size), 0.0), 1.02)
    if not any(curve.share.size for curve in curves):
        say(axes, "no pairs")
        return figure
    figure.legend(loc="outside upper left", ncols=1)
    return figure


def describe_coverage(curves: Sequence[CoverageCurve]) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    halves = [f"{curve.label} {fixed(curve.at(0.5))}" for curve in curves if curve.share.size]
    text = (
        "Mean held-out r of the best-matched features against the share of all features that they make up. A line that "
        "is high on the left shows that some features are shared very well; a line that stays high, that most are. A "
        "line ends at the share that was scored. At "
        f"{percent(0.5)} of the features: {listed(halves) if halves else 'none'}."
    )
    return Caption(text, f"Line plot of mean r by coverage. At half of the features: {'; '.join(halves) or 'none'}.")

"""Quality against coverage: how alike is the best-matched share of the features, for every share?"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from universality.formatting import fixed, listed, percent
from universality.plot.matched_share import CoverageCurve, draw_coverage
from universality.plot.style import COLUMN, new_figure, styled
from universality.report.data import Caption


@styled
def quality_against_coverage(curves: Sequence[CoverageCurve]) -> Figure:
    """Draw one line per sample; see `universality.plot.coverage`."""
    figure = new_figure(COLUMN * 1.25, 2.9)
    if draw_coverage(figure.subplots(), curves):
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

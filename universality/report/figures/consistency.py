"""Figure of similarity by frequency: do features that fire often match better than rare ones?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from universality.formatting import count, fixed, power_of_ten
from universality.plot.style import COLUMN, LINE, PALE, in_legend, new_figure, say, styled
from universality.plot.survival import LOOK
from universality.report.data import Caption, Role

BINS_A_DECADE = 4
FEWEST = 10
"""Bins with fewer pairs are not drawn."""


@dataclass(frozen=True, eq=False)
class FrequencySample:
    """Pairs of one comparison.

    Parameters
    ----------
    role, label
        As of `universality.report.data.Sample`.
    firings, r
        [n_pairs] firings of the rarer feature of each pair, and the held-out r of the pair.
    """

    role: Role
    label: str
    firings: NDArray[np.float64]
    r: NDArray[np.float64]

    def quartiles(self) -> NDArray[np.float64]:
        """Compute [n_bins, 4]: firings at the centre of each bin, and the quartiles of r in it."""
        usable = np.isfinite(self.r) & (self.firings > 0)
        bins = np.floor(np.log10(self.firings[usable]) * BINS_A_DECADE).astype(np.int64)
        rows = []
        for bin_ in np.unique(bins):
            inside = self.r[usable][bins == bin_]
            if inside.size >= FEWEST:
                rows.append([10 ** ((bin_ + 0.5) / BINS_A_DECADE), *np.quantile(inside, [0.25, 0.5, 0.75])])
        return np.asarray(rows, dtype=np.float64).reshape(-1, 4)


@styled
def consistency_by_frequency(samples: Sequence[FrequencySample]) -> Figure:
    """Draw one line of medians per comparison, with a band from the lower to the upper quartile."""
    figure = new_figure(COLUMN * 1.25, 2.9)
    axes = figure.subplots()
    axes.axhline(0, color=PALE, linewidth=0.7, zorder=0)
    axes.set(xlabel="firings of the pair's rarer feature", ylabel="held-out r", xscale="log", ylim=(-0.05, 1.02))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(round(math.log10(value)))))
    axes.xaxis.set_minor_formatter(NullFormatter())
    drawn = False
    for sample in samples:
        colour, dashes = LOOK[sample.role]
        table = sample.quartiles()
        if not len(table):
            continue
        drawn = True
        x, low, middle, high = table.T
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(
            x,
            middle,
            color=colour,
            linestyle=dashes,
            marker="o",
            markersize=2.5,
            label=in_legend(sample.label, LINE),
        )
    if not drawn:
        say(axes, "too few pairs")
        return figure
    figure.legend(loc="outside upper left", ncols=1)
    return figure


def describe_consistency(samples: Sequence[FrequencySample]) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    ends_of_lines = []
    for sample in samples:
        table = sample.quartiles()
        if len(table):
            ends = [f"{fixed(row[2])} at about {count(round(row[0]))} firings" for row in (table[0], table[-1])]
            ends_of_lines.append(f"{sample.label}: {', '.join(ends)}")
    text = (
        "Held-out r of scored pairs by how often their rarer feature fires: medians, with bands from the lower to the "
        "upper quartile. A rising line shows that rare features match less well. Either they differ between models, or "
        "there are too few tokens to measure their r; the ceiling distinguishes the two."
    )
    return Caption(text, f"Line plot of median r by firings. {'; '.join(ends_of_lines) or 'Too few pairs'}.")

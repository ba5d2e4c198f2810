"""Consistency by frequency: are features that fire often found again more surely than rare ones?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from universality.report.data import Caption, Role
from universality.report.figures.distributions import LOOK
from universality.report.figures.style import COLUMN, LINE, PALE, in_legend, new_figure, say, styled
from universality.report.formatting import count, fixed, power_of_ten

BINS_A_DECADE = 4
FEWEST = 10
"""Pairs in a bin whose median is drawn."""


@dataclass(frozen=True, eq=False)
class FrequencySample:
    """Pairs of one comparison: ``firings`` of each pair's rarer feature and its held-out ``r``, both [n_pairs]."""

    role: Role
    label: str
    firings: NDArray[np.float64]
    r: NDArray[np.float64]

    def quartiles(self) -> NDArray[np.float64]:
        """Firings (the bin's middle), lower quartile, median and upper quartile of r: [n_bins, 4]."""
        known = np.isfinite(self.r) & (self.firings > 0)
        place = np.floor(np.log10(self.firings[known]) * BINS_A_DECADE).astype(np.int64)
        rows = []
        for one in np.unique(place):
            inside = self.r[known][place == one]
            if inside.size >= FEWEST:
                rows.append([10 ** ((one + 0.5) / BINS_A_DECADE), *np.quantile(inside, [0.25, 0.5, 0.75])])
        return np.asarray(rows, dtype=np.float64).reshape(-1, 4)


@styled
def consistency_by_frequency(samples: Sequence[FrequencySample]) -> Figure:
    """A line of medians a comparison, a band of quartiles around it."""
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
    """What the picture shows and what to see in it."""
    said = []
    for sample in samples:
        table = sample.quartiles()
        if len(table):
            ends = [f"{fixed(row[2])} at about {count(round(row[0]))} firings" for row in (table[0], table[-1])]
            said.append(f"{sample.label}: {', '.join(ends)}")
    text = (
        "Held-out r of scored pairs by how often their rarer feature fires: medians, and bands from the lower to the "
        "upper quartile. A rising line says that rare features are found again less surely, which may be the feature's "
        "doing or that of few tokens to measure it on; the ceiling tells the two apart."
    )
    return Caption(text, f"Line plot of median r by firings. {'; '.join(said) or 'Too few pairs'}.")

"""Median r by how often features fire: of features, ceilings, or several models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from universality.errors import UniversalityError
from universality.formatting import count, power_of_ten
from universality.plot.pair_table import PairTable, is_calibration, pair_columns
from universality.plot.populations import ceilings_of_pairs, looks
from universality.plot.style import LINE, PALE, in_legend, legend_beside, new_axes, say, styled

if TYPE_CHECKING:
    from universality.statistics import Calibration

BINS_A_DECADE = 4
FEWEST = 10
"""Bins with fewer pairs are not drawn."""


@dataclass(frozen=True, eq=False)
class FrequencySample:
    """Pairs of one comparison.

    Parameters
    ----------
    role, label
        As of `universality.plot.populations.Population`.
    firings, r
        [n_pairs] firings of the rarer feature of each pair, and the held-out r of the pair.
    """

    role: str
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


Comparisons: TypeAlias = "PairTable | Mapping[str, PairTable]"


@styled
def consistency(
    pairs: Comparisons,
    *,
    ceilings: Mapping[str, Calibration] | None = None,
    label: str = "SAE features",
    ax: Axes | None = None,
) -> Axes:
    """Draw the median held-out r of pairs by how often their rarer feature fires, with bands between quartiles.

    A rising line shows that rare features match less well. Either they differ between models, or there are too few
    tokens to measure their r; the ceiling distinguishes the two. Classes of fewer than ten pairs are not drawn.

    Parameters
    ----------
    pairs
        A calibration or its table, with the columns ``held_out``, ``count_a`` and ``count_b``; or name → calibration or
        table, for several models. The names "features", "ceiling" and "neurons" have the look that they have in a
        report.
    ceilings
        Name → calibration of two SAE seeds of one model, drawn as ceilings; by default the ceilings of the matched
        features that the calibration holds (`Calibration.with_ceilings`).
    label
        Name of the pairs in the legend.
    ax
        Axes to draw into; new ones by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    UniversalityError
        If something else is given, or a table lacks a column.

    Examples
    --------
    >>> import pandas as pd
    >>> pairs = pd.DataFrame({"held_out": [0.2] * 10 + [0.6] * 10, "count_a": [30] * 10 + [900] * 10})
    >>> axes = consistency(pairs.assign(count_b=1000))
    >>> axes.lines[1].get_ydata().tolist()
    [0.2, 0.6]
    """
    samples = list(_samples(pairs, ceilings or {}, label))
    axes = new_axes(5.4, 3.1) if ax is None else ax
    if draw_consistency(axes, samples):
        legend_beside(axes)
    return axes


def _samples(pairs: Comparisons, ceilings: Mapping[str, Calibration], label: str) -> Iterator[FrequencySample]:
    if isinstance(pairs, Mapping):
        if ceilings:
            raise UniversalityError("consistency: ceilings belong to one calibration; name them in the mapping instead")
        for name, part in pairs.items():
            yield _sample(str(name), str(name), part)
        return
    features = _sample("features", label, pairs)
    yield features
    if not ceilings and is_calibration(pairs):
        for name, of_pairs in ceilings_of_pairs(pairs):
            yield FrequencySample("ceiling", name, features.firings, of_pairs)
    for name, of_seeds in ceilings.items():
        yield _sample("ceiling", name, of_seeds)


def _sample(role: str, label: str, pairs: PairTable) -> FrequencySample:
    r, count_a, count_b = pair_columns(pairs, ("held_out", "count_a", "count_b"), "consistency")
    return FrequencySample(role, label, np.minimum(count_a, count_b), r)


def draw_consistency(axes: Axes, samples: Sequence[FrequencySample]) -> bool:
    """Draw a line of medians a comparison, with a band between the quartiles; return whether any has enough pairs."""
    axes.axhline(0, color=PALE, linewidth=0.7, zorder=0)
    axes.set(xlabel="firings of the pair's rarer feature", ylabel="held-out r", xscale="log", ylim=(-0.05, 1.02))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(round(math.log10(value)))))
    axes.xaxis.set_minor_formatter(NullFormatter())
    drawn = False
    for sample, (colour, dashes) in zip(samples, looks([sample.role for sample in samples]), strict=True):
        table = sample.quartiles()
        if not len(table):
            continue
        drawn = True
        x, low, middle, high = table.T
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(
            x, middle, color=colour, linestyle=dashes, marker="o", markersize=2.5, label=in_legend(sample.label, LINE)
        )
    if not drawn:
        say(axes, "too few pairs")
    else:
        _scale(axes)
    return drawn


def _scale(axes: Axes) -> None:
    """Write plain numbers beneath the axes where these have one power of ten at most, which is no scale."""
    low, high = np.log10(axes.get_xlim())
    if np.floor(high) - np.floor(low) < 2:
        narrow = high - low < 1
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True) if narrow else LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))

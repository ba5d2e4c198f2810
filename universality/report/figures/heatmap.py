"""Figures of the matched similarity matrix: do pairs stand out, and are they the only cells that do?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from universality.arrays import evenly_spaced
from universality.errors import UniversalityError
from universality.formatting import count, fixed, percent, plural
from universality.plot.matrix import draw_matrix
from universality.plot.pair_order import cluster_order, name_sides, rank_ticks
from universality.plot.style import COLUMN, IN_PANEL, PAGE, drawable_names, new_figure, styled
from universality.report.data import Caption

Matrix = np.ndarray[Any, np.dtype[np.floating]]


@dataclass(frozen=True, eq=False)
class MatchedMatrix:
    """Similarities among matched features, reduced to a size that a figure can show.

    Row i is a feature of A and column i its partner in B. Both are ordered by match quality, best first, so pairs lie
    on the diagonal. Pairs that fire too rarely for a p-value should come last, since their r is due to chance.

    Parameters
    ----------
    sample
        [n_sample, n_sample] among pairs evenly spaced in that order (all of them where there are few).
    best
        [n_best, n_best] among the best pairs.
    n_pairs
        Number of all pairs.
    names
        Names of A and B: two models, or SAE seeds of one.
    """

    sample: Matrix
    best: Matrix
    n_pairs: int
    names: tuple[str, str] = ("A", "B")

    def __post_init__(self) -> None:
        for name, matrix in (("sample", self.sample), ("best", self.best)):
            if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] > self.n_pairs:
                raise UniversalityError(
                    f"{name}: expected a square matrix of at most n_pairs = {self.n_pairs} pairs, found shape "
                    f"{matrix.shape}; rows are A's features and columns their partners"
                )


def spaced(n_pairs: int, size: int = 256) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return ranks, evenly spaced from the best to the worst pair, of the pairs to draw; all where there are few."""
    return evenly_spaced(n_pairs, size)


@styled
def matched_heatmap(matrix: MatchedMatrix, *, measure: str = "activation r") -> Figure:
    """Draw all pairs, or an evenly spaced sample of them, beside the best.

    Parameters
    ----------
    matrix
        Similarities to draw.
    measure
        Label of the colour bar.
    """
    figure = new_figure(PAGE, 3.3)
    left, right = figure.subplots(1, 2)
    n = len(matrix.sample)
    which = "all" if n == matrix.n_pairs else f"{count(n)} evenly spaced of"
    image = _draw(left, matrix.sample, f"{which} {plural(matrix.n_pairs, 'pair')}", matrix.n_pairs)
    _draw(right, matrix.best, f"the best {count(len(matrix.best))}", len(matrix.best))
    a, b = drawable_names(matrix.names, IN_PANEL)
    for axes in (left, right):
        name_sides(axes, (a, b), "rank by match quality")
    figure.colorbar(image, ax=[left, right], label=measure, shrink=0.82, aspect=26, pad=0.02)
    return figure


def _draw(axes: Axes, matrix: Matrix, title: str, n_ranks: int) -> AxesImage:
    """Draw a matrix of pairs with ranks along both sides."""
    size = max(len(matrix), 1)
    image = draw_matrix(axes, matrix)
    rank_ticks(axes, len(matrix), n_ranks)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
    axes.set_title(title)
    return image


def describe_heatmap(matrix: MatchedMatrix, *, measure: str = "activation r") -> Caption:
    """Write the caption, with the contrast between the diagonal and the other cells in numbers."""
    n = len(matrix.sample)
    on = np.diag(matrix.sample)
    off = matrix.sample[~np.eye(n, dtype=bool)]
    on, off = on[~np.isnan(on)], np.abs(off[~np.isnan(off)])
    drawn = (
        "all pairs"
        if n == matrix.n_pairs
        else f"{count(n)} pairs, evenly spaced in that order, of {count(matrix.n_pairs)}"
    )
    a, b = matrix.names
    text = (
        f"Rows are features of {a}, columns their partners in {b}, both ordered by match quality (in a "
        f"report, pairs too rare for a p-value come last). Left: {drawn}; cells are "
        f"single similarities without averaging. Right: the best {count(len(matrix.best))}. A dark diagonal on a "
        "pale background shows that each feature resembles its partner and no other; squares or dark cells off the "
        "diagonal show that several features respond to the same text."
    )
    if not on.size:
        return Caption(text, f"Heatmap of {measure}: no pairs.")
    contrast = f" On the diagonal the median is {fixed(float(np.median(on)))}"
    if off.size:
        contrast += (
            f"; off the diagonal the median size is {fixed(float(np.median(off)), 3)}, and "
            f"{percent((off >= 0.5).mean(), 2)} of cells reach 0.5"
        )
    return Caption(text + contrast + ".", f"Heatmap of {measure} between {drawn} of matched features.{contrast}.")


@styled
def clustered_heatmap(matrix: MatchedMatrix, *, measure: str = "activation r") -> Figure:
    """Draw the sampled pairs in clustered order, so that pairs which resemble each other form blocks."""
    figure = new_figure(COLUMN * 1.25, 3.6)
    axes = figure.subplots()
    order = cluster_order(matrix.sample)
    image = draw_matrix(axes, matrix.sample[np.ix_(order, order)])
    a, b = drawable_names(matrix.names, IN_PANEL)
    name_sides(axes, (a, b), "clustered")
    axes.set(xticks=[], yticks=[])
    figure.colorbar(image, ax=axes, label=measure, shrink=0.82, aspect=26, pad=0.02)
    return figure


def describe_clustered(matrix: MatchedMatrix) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    text = (
        f"{plural(len(matrix.sample), 'pair')} of the similarity matrix, ordered so that pairs which resemble each "
        "other are adjacent (average linkage over 1 - r). Blocks on the diagonal are groups of features that respond "
        "to the same text; within a block, partners are interchangeable to some degree."
    )
    return Caption(text, f"Clustered heatmap of {plural(len(matrix.sample), 'pair')} of matched features.")

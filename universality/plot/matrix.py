"""Similarity matrix of matched features: does each feature resemble its partner, and only its partner?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, MaxNLocator

from universality.errors import UniversalityError
from universality.features.examples import Decode
from universality.plot.drawn_scores import MOST_LABELS, DrawnScores, Matrix, Scores, Which, drawn_scores
from universality.plot.pair_order import cluster_order, name_sides, rank_ticks
from universality.plot.style import LINE, NAME, SIGNED_MAP, drawable, new_axes, say, styled

if TYPE_CHECKING:
    from universality.matching import Match
    from universality.statistics import Calibration

_FEW_LABELS = 12  # up to this many labels are written larger
_LARGE, _SMALL = 7.0, 5.0  # font sizes in points; in a new figure, which has room, all labels are large
_LINE_HEIGHT, _LETTER_WIDTH = 1.3, 0.62  # of a label, in font sizes; above the means of DejaVu Sans
_FURNITURE = 0.6  # inches that titles and the axes' names take
_SCALE = 0.7  # inches that the scale of colours takes


@styled
def heatmap(
    similarity: Scores,
    *,
    rows: npt.ArrayLike | None = None,
    cols: npt.ArrayLike | None = None,
    matching: Match | Calibration | None = None,
    n: int = 30,
    which: Which = "spaced",
    clustered: bool = False,
    labels: tuple[Sequence[str], Sequence[str]] | None = None,
    names: tuple[str, str] | None = None,
    decode: Decode | None = None,
    colorbar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw the similarities among some features of A (rows) and some of B (columns).

    With a matching, row i and column i are partners, best pairs first, so pairs lie on the diagonal. Given two stores,
    only the features that are drawn are read. Features without a score are grey: they never fire on the tokens or,
    with a `Calibration`, fire too rarely on its held-out half. Up to 40 features have labels; of more pairs of a
    matching, axes show the rank.

    Parameters
    ----------
    similarity
        Scores to draw, or two stores (a, b) that are compared by activation correlation. With a `Calibration` of the
        stores, r is that of the held-out half of the documents. Or an array [n_a, n_b] of scores, NaN where there is
        none.
    rows, cols
        Features of A [n_rows] and of B [n_cols]. All of an array by default.
    matching
        Pairs to choose from, instead of ``rows`` and ``cols``.
    n
        Number of pairs of the matching.
    which
        Pairs evenly spaced from the best to the worst, or the best pairs. The best ``n`` of many resemble each other in
        any matching and do not show how well the matching went.
    clustered
        Order pairs so that those which resemble each other are adjacent (average linkage over 1 - r). Blocks on the
        diagonal are then groups of features that respond to the same text. Row i and column i must be a pair.
    labels
        Labels of rows and of columns. By default, indices, with the heaviest tokens of each feature where the stores
        lie in a run's folder or ``decode`` is given.
    names
        Names of the two sides.
    decode
        Takes token ids and gives their strings.
    colorbar
        Whether to draw the scale beside the axes.
    ax
        Axes to draw into; by default new ones, in a figure that grows with the labels so that none overlap.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    UniversalityError
        If neither a matching nor both rows and columns are given, a feature does not exist, or labels do not fit.

    Examples
    --------
    >>> from universality import Similarity
    >>> similarity = Similarity.from_dense([[0.9, 0.1], [0.2, 0.8]])
    >>> axes = heatmap(similarity, rows=[0, 1], cols=[0, 1])
    >>> axes.images[0].get_array().tolist()
    [[0.9, 0.1], [0.2, 0.8]]
    """
    drawn = drawn_scores(similarity, rows, cols, matching, n, which, decode, labels is None)
    texts = _checked_labels(labels, drawn) if labels else drawn.labels
    scores = drawn.scores
    if clustered:
        scores, texts = _clustered(scores, texts)
    axes = _roomy_axes(scores.shape, texts) if ax is None else ax
    image = draw_matrix(axes, scores)
    axes.set_title(drawn.title)
    _label(axes, texts, scores.shape, names or drawn.names, ax is None, clustered, drawn.n_ranks)
    if colorbar:
        axes.figure.colorbar(image, ax=axes, label=drawn.measure, shrink=0.82, aspect=26, pad=0.02)
    return axes


def _checked_labels(
    labels: tuple[Sequence[str], Sequence[str]], drawn: DrawnScores
) -> tuple[Sequence[str], Sequence[str]]:
    for given, size in zip(labels, drawn.scores.shape, strict=True):
        if len(given) != size:
            raise UniversalityError(f"heatmap: expected {size} labels for {size} features, found {len(given)}")
    return labels


def _clustered(
    scores: Matrix, texts: tuple[Sequence[str], Sequence[str]]
) -> tuple[Matrix, tuple[Sequence[str], Sequence[str]]]:
    """Order pairs so that those which resemble each other are adjacent."""
    if scores.shape[0] != scores.shape[1]:
        raise UniversalityError(
            f"heatmap: clustered=True orders pairs, with as many rows as columns; found {scores.shape[0]} rows and "
            f"{scores.shape[1]} columns"
        )
    order = cluster_order(scores)
    ordered_rows, ordered_cols = ([side[i] for i in order] for side in texts)
    return scores[np.ix_(order, order)], (ordered_rows, ordered_cols)


def _roomy_axes(shape: tuple[int, ...], texts: Sequence[Sequence[str]]) -> Axes:
    """Make axes whose cells are as high as a line of their labels, in a figure that has room for the labels beside."""
    cells, labels = [], []
    for size, side in zip(shape, texts, strict=True):
        shown = list(side) if size <= MOST_LABELS else []
        cells.append(max(2.4, _LARGE / 72 * _LINE_HEIGHT * len(shown)))
        labels.append(_LARGE / 72 * _LETTER_WIDTH * min(LINE, max(map(len, shown), default=0)))
    return new_axes(cells[1] + labels[0] + _FURNITURE + _SCALE, cells[0] + labels[1] + _FURNITURE)


def draw_matrix(axes: Axes, matrix: Matrix) -> AxesImage:
    """Draw similarities as cells in colours from -1 to 1, NaN in grey."""
    image = axes.imshow(
        matrix if matrix.size else np.zeros((1, 1)),
        cmap=colormaps[SIGNED_MAP].with_extremes(bad="#BBBBBB"),
        vmin=-1,
        vmax=1,
        interpolation="nearest",
        origin="upper",
    )
    for spine in axes.spines.values():
        spine.set_visible(True)
    if not matrix.size:
        say(axes, "no pairs")
    return image


def _label(
    axes: Axes,
    texts: Sequence[Sequence[str]],
    shape: tuple[int, ...],
    names: tuple[str, str],
    roomy: bool,
    clustered: bool,
    n_ranks: int,
) -> None:
    axes.set(xlim=(-0.5, max(shape[1], 1) - 0.5), ylim=(max(shape[0], 1) - 0.5, -0.5))
    a, b = (drawable(name, most=NAME) for name in names)
    axes.set(xlabel=f"features of {b}", ylabel=f"features of {a}")
    if max(shape) > MOST_LABELS and (clustered or n_ranks):
        name_sides(axes, (a, b), "clustered" if clustered else "rank by match quality")
        axes.set(xticks=[], yticks=[])
        if not clustered:
            rank_ticks(axes, shape[0], n_ranks)
        return
    for axis, labels, size in ((axes.yaxis, texts[0], shape[0]), (axes.xaxis, texts[1], shape[1])):
        if size > MOST_LABELS:
            axis.set_major_locator(MaxNLocator(6, integer=True))
            axis.set_major_formatter(FuncFormatter(partial(_label_at, labels)))
        else:
            points = _LARGE if roomy or size <= _FEW_LABELS else _SMALL
            axis.set_ticks(np.arange(size), labels=list(labels), fontsize=points, parse_math=False)
    for text in axes.get_xticklabels() if shape[1] <= MOST_LABELS else ():
        text.set(rotation=90)


def _label_at(labels: Sequence[str], place: float, _: int | None = None) -> str:
    """Return the label of the cell at a place, which need not be the place's number."""
    return labels[round(place)] if 0 <= round(place) < len(labels) else ""

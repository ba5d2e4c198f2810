"""Similarity matrix of matched features: does each feature resemble its partner, and only its partner?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from universality.arrays import evenly_spaced
from universality.errors import UniversalityError
from universality.features import FeatureStore, select_features
from universality.features.examples import Decode
from universality.formatting import count, plural
from universality.plot.labels import feature_labels
from universality.plot.reporting_half import reporting_half
from universality.plot.style import LINE, NAME, SIGNED_MAP, drawable, new_axes, say, styled
from universality.similarity import Similarity

if TYPE_CHECKING:
    from universality.matching import Match
    from universality.statistics import Calibration


@runtime_checkable
class _Calibrated(Protocol):
    """A calibration, told from a match without the import of `universality.statistics`, which takes a second."""

    @property
    def match(self) -> Match: ...
    @property
    def settings(self) -> dict[str, Any]: ...


Matrix: TypeAlias = np.ndarray[Any, np.dtype[np.floating]]
_MOST_LABELS = 40  # more labels than this overlap at any size that fits a page
_FEW_LABELS = 12  # up to this many labels are written larger
_LARGE, _SMALL = 7.0, 5.0  # font sizes in points; in a new figure, which has room, all labels are large
_LINE_HEIGHT, _LETTER_WIDTH = 1.3, 0.62  # of a label, in font sizes; above the means of DejaVu Sans
_FURNITURE = 0.6  # inches that titles and the axes' names take
_SCALE = 0.7  # inches that the scale of colours takes


@styled
def heatmap(
    similarity: Similarity | tuple[FeatureStore, FeatureStore],
    *,
    rows: npt.ArrayLike | None = None,
    cols: npt.ArrayLike | None = None,
    matching: Match | Calibration | None = None,
    n: int = 30,
    which: Literal["spaced", "best"] = "spaced",
    labels: tuple[Sequence[str], Sequence[str]] | None = None,
    names: tuple[str, str] | None = None,
    decode: Decode | None = None,
    colorbar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw the similarities among some features of A (rows) and some of B (columns).

    With a matching, row i and column i are partners, best pairs first, so pairs lie on the diagonal. Given two stores,
    only the features that are drawn are read. Features without a score are grey: they never fire on the tokens or,
    with a `Calibration`, fire too rarely on its held-out half.

    Parameters
    ----------
    similarity
        Scores to draw, or two stores (a, b) that are compared by activation correlation. With a `Calibration` of the
        stores, r is that of the held-out half of the documents.
    rows, cols
        Features of A [n_rows] and of B [n_cols].
    matching
        Pairs to choose from, instead of ``rows`` and ``cols``.
    n
        Number of pairs of the matching.
    which
        Pairs evenly spaced from the best to the worst, or the best pairs. The best ``n`` of many resemble each other in
        any matching and do not show how well the matching went.
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
    >>> import numpy as np
    >>> similarity = Similarity.from_dense(np.array([[0.9, 0.1], [0.2, 0.8]]))
    >>> axes = heatmap(similarity, rows=[0, 1], cols=[0, 1])
    >>> axes.images[0].get_array().tolist()
    [[0.9, 0.1], [0.2, 0.8]]
    """
    chosen_rows, chosen_cols, title = _chosen(rows, cols, matching, n, which)
    if isinstance(similarity, Similarity):
        scores, measure = _restricted(similarity, chosen_rows, chosen_cols), similarity.name
        texts = labels or (list(map(str, chosen_rows)), list(map(str, chosen_cols)))
    else:
        a, b = select_features(similarity[0], chosen_rows), select_features(similarity[1], chosen_cols)
        calibration = matching if isinstance(matching, _Calibrated) else None
        scores, measure = _of_stores(a, b, calibration)
        texts = labels or (
            feature_labels(a, chosen_rows.tolist(), NAME, decode),
            feature_labels(b, chosen_cols.tolist(), NAME, decode),
        )
        names = names or (similarity[0].path.stem, similarity[1].path.stem)
    axes = _roomy_axes(scores.shape, texts) if ax is None else ax
    image = draw_matrix(axes, scores)
    axes.set_title(title)
    _label(axes, texts, scores.shape, names or ("A", "B"), roomy=ax is None)
    if colorbar:
        axes.figure.colorbar(image, ax=axes, label=measure, shrink=0.82, aspect=26, pad=0.02)
    return axes


def _roomy_axes(shape: tuple[int, ...], texts: Sequence[Sequence[str]]) -> Axes:
    """Make axes whose cells are as high as a line of their labels, in a figure that has room for the labels beside."""
    cells, labels = [], []
    for size, side in zip(shape, texts, strict=True):
        shown = list(side) if size <= _MOST_LABELS else []
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


def _chosen(
    rows: npt.ArrayLike | None,
    cols: npt.ArrayLike | None,
    matching: Match | Calibration | None,
    n: int,
    which: Literal["spaced", "best"],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], str]:
    """Return the rows and columns to draw, and how they were chosen."""
    if matching is None:
        if rows is None or cols is None:
            raise UniversalityError(
                "heatmap: expected rows=[…] and cols=[…], or matching=… with the pairs to choose from, such as "
                "match(similarity) or calibrate(a, b)"
            )
        return np.asarray(rows), np.asarray(cols), ""
    if rows is not None or cols is not None:
        raise UniversalityError("heatmap: give rows and cols, or matching, not both")
    if n < 1 or which not in ("spaced", "best"):
        raise UniversalityError(f"heatmap: expected n >= 1 and which 'spaced' or 'best', found n={n}, which={which!r}")
    match = matching.match if isinstance(matching, _Calibrated) else matching
    order = matching.by_quality()
    if n >= order.size:
        chosen, title = order, f"all {plural(order.size, 'pair')}"
    elif which == "best":
        chosen, title = order[:n], f"the best {count(n)} of {plural(order.size, 'pair')}"
    else:
        chosen = order[evenly_spaced(order.size, n)]
        title = f"{count(n)} evenly spaced of {plural(order.size, 'pair')}"
    return match.rows[chosen], match.cols[chosen], title


def _restricted(similarity: Similarity, rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64]) -> Matrix:
    """Compute [n_rows, n_cols] scores alone, not those of all features."""
    scores = similarity.pairs(np.repeat(rows, cols.size), np.tile(cols, rows.size)).reshape(rows.size, cols.size)
    scores[similarity.dead_rows[rows]] = np.nan
    scores[:, similarity.dead_cols[cols]] = np.nan
    return scores


def _of_stores(a: FeatureStore, b: FeatureStore, calibration: _Calibrated | None) -> tuple[Matrix, str]:
    """Compute r of all pairs of the stores' features, and name it."""
    documents = None if calibration is None else reporting_half(a)
    similarity = Similarity.activation(a, b, documents=documents)
    scores = _restricted(similarity, np.arange(similarity.shape[0]), np.arange(similarity.shape[1]))
    if calibration is None or documents is None:
        return scores, "activation r"
    assert similarity.counts is not None  # it compares tokens
    rare_rows, rare_cols = (count < calibration.settings["min_firings"] for count in similarity.counts)
    scores[rare_rows] = np.nan
    scores[:, rare_cols] = np.nan
    return scores, "activation r, held out"


def _label(
    axes: Axes, texts: Sequence[Sequence[str]], shape: tuple[int, ...], names: tuple[str, str], roomy: bool
) -> None:
    axes.set(xlim=(-0.5, max(shape[1], 1) - 0.5), ylim=(max(shape[0], 1) - 0.5, -0.5))
    for axis, labels, size in ((axes.yaxis, texts[0], shape[0]), (axes.xaxis, texts[1], shape[1])):
        if len(labels) != size:
            raise UniversalityError(f"heatmap: expected {size} labels for {size} features, found {len(labels)}")
        if size <= _MOST_LABELS:
            points = _LARGE if roomy or size <= _FEW_LABELS else _SMALL
            axis.set_ticks(np.arange(size), labels=list(labels), fontsize=points, parse_math=False)
    for text in axes.get_xticklabels() if shape[1] <= _MOST_LABELS else ():
        text.set(rotation=90)
    a, b = (drawable(name, most=NAME) for name in names)
    axes.set(xlabel=f"features of {b}", ylabel=f"features of {a}")

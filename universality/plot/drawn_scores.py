"""Scores of the features that a heat map draws, and what is written beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    TypeGuard,
    runtime_checkable,
)

import numpy as np
import numpy.typing as npt

from universality.arrays import IntArray, evenly_spaced
from universality.errors import UniversalityError
from universality.features import FeatureStore, select_features
from universality.features.examples import Decode
from universality.formatting import count, plural
from universality.plot.labels import feature_labels
from universality.plot.reporting_half import reporting_half
from universality.plot.style import NAME
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
Scores: TypeAlias = Similarity | tuple[FeatureStore, FeatureStore] | npt.ArrayLike
Which: TypeAlias = Literal["spaced", "best"]
MOST_LABELS = 40  # more labels than this overlap at any size that fits a page


@dataclass(frozen=True, eq=False)
class DrawnScores:
    """Scores [n_rows, n_cols] to draw, and what to write beside them; ``n_ranks`` pairs of a matching, else 0."""

    scores: Matrix
    measure: str
    labels: tuple[Sequence[str], Sequence[str]]
    names: tuple[str, str]
    title: str
    n_ranks: int


def drawn_scores(
    similarity: Scores,
    rows: npt.ArrayLike | None,
    cols: npt.ArrayLike | None,
    matching: Match | Calibration | None,
    n: int,
    which: Which,
    decode: Decode | None,
    labelled: bool,
) -> DrawnScores:
    """Choose rows and columns, and compute their scores; parameters as of `universality.plot.heatmap`.

    Parameters
    ----------
    labelled
        Whether to read the tokens of the features of stores.
    """
    if _are_stores(similarity):
        return _of_stores(*similarity, _chosen(rows, cols, matching, n, which), matching, decode, labelled)
    if isinstance(similarity, Similarity):
        chosen = _chosen(rows, cols, matching, n, which)
        return _plain(_restricted(similarity, chosen.rows, chosen.cols), similarity.name, chosen)
    matrix = _matrix(similarity)  # type: ignore[arg-type]
    if matching is None:
        rows, cols = (
            np.arange(size) if given is None else given for given, size in zip((rows, cols), matrix.shape, strict=True)
        )
    chosen = _chosen(rows, cols, matching, n, which)
    return _plain(_cells(matrix, chosen.rows, chosen.cols), "similarity", chosen)


def _are_stores(similarity: Scores) -> TypeGuard[tuple[FeatureStore, FeatureStore]]:
    return isinstance(similarity, tuple) and all(isinstance(side, FeatureStore) for side in similarity)


class _Chosen(NamedTuple):
    """Features to draw, how they were chosen, and the number of pairs that their ranks span."""

    rows: IntArray
    cols: IntArray
    title: str
    n_ranks: int


def _plain(scores: Matrix, measure: str, chosen: _Chosen) -> DrawnScores:
    labels = list(map(str, chosen.rows)), list(map(str, chosen.cols))
    return DrawnScores(scores, measure, labels, ("A", "B"), chosen.title, chosen.n_ranks)


def _of_stores(
    a: FeatureStore,
    b: FeatureStore,
    chosen: _Chosen,
    matching: Match | Calibration | None,
    decode: Decode | None,
    labelled: bool,
) -> DrawnScores:
    """Compute r of the chosen features of two stores, and read the tokens of few of them."""
    if not chosen.rows.size or not chosen.cols.size:
        return _plain(np.zeros((chosen.rows.size, chosen.cols.size)), "activation r", chosen)
    of_a, of_b = select_features(a, chosen.rows), select_features(b, chosen.cols)
    scores, measure = _correlations(of_a, of_b, matching if isinstance(matching, _Calibrated) else None)
    drawn = replace(_plain(scores, measure, chosen), names=(a.path.stem, b.path.stem))
    if not labelled:
        return drawn
    rows, cols = (
        feature_labels(store, features.tolist(), NAME, decode) if features.size <= MOST_LABELS else numbers
        for store, features, numbers in zip((of_a, of_b), chosen[:2], drawn.labels, strict=True)
    )
    return replace(drawn, labels=(rows, cols))


def _matrix(scores: npt.ArrayLike) -> Matrix:
    try:
        matrix = np.asarray(scores, np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.ndim != 2:
        raise UniversalityError(
            "heatmap: expected a Similarity, two stores (a, b), or scores [n_a, n_b]; found "
            f"{type(scores).__name__}{f' of shape {matrix.shape}' if matrix.size else ''}"
        )
    return matrix


def _cells(matrix: Matrix, rows: IntArray, cols: IntArray) -> Matrix:
    for name, index, size in (("row", rows, matrix.shape[0]), ("column", cols, matrix.shape[1])):
        if index.size and (index.min() < 0 or index.max() >= size):
            raise UniversalityError(
                f"heatmap: {name} indices from 0 to {size - 1} exist, found {index.min()} to {index.max()}"
            )
    return np.asarray(matrix[np.ix_(rows, cols)])


def _chosen(
    rows: npt.ArrayLike | None,
    cols: npt.ArrayLike | None,
    matching: Match | Calibration | None,
    n: int,
    which: Which,
) -> _Chosen:
    if matching is None:
        if rows is None or cols is None:
            raise UniversalityError(
                "heatmap: expected rows=[…] and cols=[…], or matching=… with the pairs to choose from, such as "
                "match(similarity) or calibrate(a, b)"
            )
        return _Chosen(np.asarray(rows), np.asarray(cols), "", 0)
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
    n_ranks = chosen.size if which == "best" else order.size
    return _Chosen(match.rows[chosen], match.cols[chosen], title, n_ranks)


def _restricted(similarity: Similarity, rows: IntArray, cols: IntArray) -> Matrix:
    """Compute [n_rows, n_cols] scores alone, not those of all features."""
    scores = similarity.pairs(np.repeat(rows, cols.size), np.tile(cols, rows.size)).reshape(rows.size, cols.size)
    scores[similarity.dead_rows[rows]] = np.nan
    scores[:, similarity.dead_cols[cols]] = np.nan
    return scores


def _correlations(a: FeatureStore, b: FeatureStore, calibration: _Calibrated | None) -> tuple[Matrix, str]:
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

"""Nearest neighbours of features within one model, exact where features are few and approximate beyond."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray, IntArray
from universality.errors import UniversalityError
from universality.maps.point_layout import import_umap
from universality.similarity import Similarity
from universality.similarity.engine.block_source import TopK

EXACT = 32_768
"""Most features whose neighbours are found exactly: with 128 dimensions that takes 5 processor seconds, and 16 times as
many at 131,072, where nearest-neighbour descent takes 35 and 15 to compile."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The features most similar to each feature, best first, without the feature itself."""

    index: IntArray
    """[n_features, k] their numbers; -1 where there are fewer, as for a feature without a direction."""
    similarity: FloatArray
    """[n_features, k] their similarities; NaN where there are fewer."""


def nearest_features(similarity: Similarity, k: int) -> Neighbours:
    """Find the k nearest neighbours of every feature in a similarity of one model with itself, exactly.

    Raises
    ------
    UniversalityError
        When rows and columns differ in number.

    Examples
    --------
    >>> directions = np.array([[1, 0], [1, 0.1], [0, 1]])
    >>> nearest_features(Similarity.from_factors(directions, directions), 1).index.ravel().tolist()
    [1, 0, 1]
    """
    n_rows, n_cols = similarity.shape
    if n_rows != n_cols:
        raise UniversalityError(
            f"neighbours within a model: expected a similarity of its features with themselves, found {n_rows} rows "
            f"and {n_cols} columns"
        )
    return _without_itself(similarity.topk(min(k + 1, n_rows)), k)


def nearest_directions(directions: npt.ArrayLike, k: int, seed: int = 0, exact: int = EXACT) -> Neighbours:
    """Find the k nearest neighbours of every direction by cosine; directions of zeros have none and are none.

    Parameters
    ----------
    directions
        [n_features, d] finite rows, of any length.
    k
        Number of neighbours.
    seed
        Seed of nearest-neighbour descent (Dong et al. 2011), which replaces the exact search above ``exact`` features.
    exact
        Most features that are searched exactly.

    Raises
    ------
    UniversalityError
        When the directions are not a finite matrix.
    """
    rows = np.asarray(directions, np.float32)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise UniversalityError(
            f"directions: expected finite numbers [n_features, d], found shape {rows.shape}"
            f"{'' if rows.ndim != 2 else ' with values that are not finite'}"
        )
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = (rows / np.where(length > 0, length, 1)).astype(np.float32)
    if len(unit) <= exact:
        return nearest_features(Similarity.from_factors(unit, unit), k)
    return _descended(unit, np.flatnonzero(length[:, 0] > 0), k, seed)


def _descended(unit: npt.NDArray[np.float32], living: IntArray, k: int, seed: int) -> Neighbours:
    """Find neighbours among the living directions by nearest-neighbour descent, with UMAP's settings of it."""
    wanted = min(k + 1, living.size)
    chance = np.random.RandomState(seed)
    found, distance, _ = import_umap().nearest_neighbors(unit[living], wanted, "cosine", {}, False, chance, n_jobs=1)
    # a place that was not filled holds the index -1 and an infinite distance
    known = found >= 0
    index, score = np.full((len(unit), wanted), -1), np.full((len(unit), wanted), np.nan)
    index[living], score[living] = np.where(known, living[found], -1), np.where(known, 1 - distance, np.nan)
    return _without_itself((index, score), k)


def _without_itself(lists: TopK, k: int) -> Neighbours:
    """Drop each feature from its own list; of equal directions it may not be the first."""
    index, score = np.array(lists[0], np.int64), np.array(lists[1], np.float64)
    own = index == np.arange(len(index))[:, None]
    order = np.argsort(own, axis=1, kind="stable")  # itself last, the others in their order
    index, score = np.take_along_axis(index, order, axis=1), np.take_along_axis(score, order, axis=1)
    last = np.take_along_axis(own, order, axis=1)
    index[last], score[last] = -1, np.nan
    return Neighbours(index[:, :k], score[:, :k])

"""p-values from null scores pooled over features that fire about equally often.

K replicates alone cannot give a p below 1 / (K + 1), which rejects nothing after a correction for thousands of
features. The null scores of all features in a stratum of firing counts are pooled, because what chance gives depends
mostly on how often a feature fires.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from universality.arrays import FloatArray, IntArray

MIN_PER_STRATUM, MAX_CLASSES = 32, 4


@dataclass(frozen=True, eq=False)
class Strata:
    """Features cut into classes of firing counts.

    Parameters
    ----------
    edges
        [n_strata + 1] rising counts; stratum s holds edges[s] <= count < edges[s + 1].
    code
        [n_features] stratum of each feature, -1 for those that fire too rarely.
    """

    edges: FloatArray
    code: IntArray

    @property
    def n(self) -> int:
        """Number of strata."""
        return max(0, self.edges.size - 1)


def stratify(count: IntArray, min_firings: int, n_strata: int, by_kind: bool = False) -> Strata:
    """Cut features at quantiles of their firing counts, each stratum holding at least 32 where that is possible.

    Parameters
    ----------
    count
        [n_features] firings.
    min_firings
        Features that fire less often have no stratum.
    n_strata
        Strata wanted; fewer where features are few.
    by_kind
        Whether `refine` will cut every stratum again: then fewer and larger strata leave it as many features.
    """
    enough = count >= max(1, min_firings)
    if not enough.any():
        return Strata(np.zeros(0), np.full(count.size, -1, np.int64))
    classes = int(enough.sum()) // MIN_PER_STRATUM  # so many can be filled
    wanted = max(1, min(n_strata, classes // min(MAX_CLASSES, max(1, math.isqrt(classes))) if by_kind else classes))
    edges = np.unique(np.quantile(count[enough], np.linspace(0, 1, wanted + 1)))
    edges = np.append(edges[:-1], np.inf) if edges.size > 1 else np.array([edges[0], np.inf])
    code = np.searchsorted(edges, count, side="right") - 1
    return Strata(edges, np.where(enough, code, -1).astype(np.int64))


def refine(strata: Strata, value: FloatArray) -> IntArray:
    """Cut every stratum at quantiles of a value of its features [n_features], into at most ``MAX_CLASSES`` classes.

    Returns
    -------
    int64 [n_features]
        Class of each feature, -1 where it has no stratum; classes hold at least 32 features where possible.
    """
    code = np.full(strata.code.size, -1, np.int64)
    n_classes = 0
    for s in range(strata.n):
        inside = np.flatnonzero(strata.code == s)
        if not inside.size:
            continue
        parts = max(1, min(MAX_CLASSES, inside.size // MIN_PER_STRATUM))
        cuts = np.unique(np.quantile(value[inside], np.linspace(0, 1, parts + 1)[1:-1]))
        code[inside] = n_classes + np.searchsorted(cuts, value[inside], side="right")
        n_classes += cuts.size + 1
    return code


def pooled_p(observed: FloatArray, null: FloatArray, code: IntArray, features: IntArray) -> FloatArray:
    """p = (1 + #{null >= observed}) / (1 + #null) with the null pooled over the features of one class.

    Parameters
    ----------
    observed
        [n] scores; -inf for unmatched, NaN for unknown.
    null
        [n_replicates, n_features] scores of the null; -inf for a feature that stayed unmatched, NaN for a dead one.
    code
        [n_features] class of each feature, -1 for none.
    features
        [n] the feature that each score belongs to.

    Returns
    -------
    float64 [n]
        NaN where the score is unknown, the feature has no class, or the null no score.
    """
    p = np.full(observed.size, np.nan)
    for here, pool in _pools(null, code, features):
        beaten = pool.size - np.searchsorted(pool, observed[here], side="left")
        p[here] = (1 + beaten) / (1 + pool.size)
    return np.where(np.isnan(observed), np.nan, p)


def null_quantile(null: FloatArray, code: IntArray, features: IntArray, level: float) -> FloatArray:
    """[n] the ``level`` quantile of each feature's pool; -inf where most of it is unmatched, NaN where it is empty."""
    found = np.full(features.size, np.nan)
    for here, pool in _pools(null, code, features):
        found[here] = np.quantile(pool, level, method="higher")
    return found


def beyond_chance(null: FloatArray, code: IntArray, features: IntArray, level: float) -> FloatArray:
    """[n] what each feature's score must exceed for a pooled p of at most ``level``.

    Infinite where the pool is too small for any score to get there, NaN where it is empty.
    """
    found = np.full(features.size, np.nan)
    for here, pool in _pools(null, code, features):
        allowed = int(np.floor(level * (1 + pool.size) + 1e-9)) - 1  # null scores that may reach it
        found[here] = np.inf if allowed < 0 else -np.inf if allowed >= pool.size else pool[pool.size - 1 - allowed]
    return found


def _pools(null: FloatArray, code: IntArray, features: IntArray) -> Iterator[tuple[IntArray, FloatArray]]:
    """For each class: which of the features are of it, and all its null scores in rising order."""
    for c in np.unique(code[code >= 0]):
        pool = null[:, code == c].ravel()
        pool = np.sort(pool[~np.isnan(pool)])
        if pool.size:
            yield np.flatnonzero(code[features] == c), pool

"""p-values from null scores pooled over features that fire about equally often.

K replicates alone cannot give a p below 1 / (K + 1), which rejects nothing after a correction for thousands of
features. The null scores of all features in a stratum of firing counts are pooled, because what chance gives depends
mostly on how often a feature fires.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from universality.similarity.rows import FloatArray, IntArray

MIN_PER_STRATUM = 32


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


def stratify(count: IntArray, min_firings: int, n_strata: int) -> Strata:
    """Cut features at quantiles of their firing counts, each stratum holding at least 32 where that is possible."""
    enough = count >= max(1, min_firings)
    if not enough.any():
        return Strata(np.zeros(0), np.full(count.size, -1, np.int64))
    wanted = max(1, min(n_strata, int(enough.sum()) // MIN_PER_STRATUM))
    edges = np.unique(np.quantile(count[enough], np.linspace(0, 1, wanted + 1)))
    edges = np.append(edges[:-1], np.inf) if edges.size > 1 else np.array([edges[0], np.inf])
    code = np.searchsorted(edges, count, side="right") - 1
    return Strata(edges, np.where(enough, code, -1).astype(np.int64))


def pooled_p(observed: FloatArray, features: IntArray, null: FloatArray, strata: Strata) -> FloatArray:
    """p = (1 + #{null >= observed}) / (1 + #null) with the null pooled within the feature's stratum.

    Parameters
    ----------
    observed
        [n_pairs] scores; -inf for unmatched, NaN for unknown.
    features
        [n_pairs] the feature that each score belongs to.
    null
        [n_replicates, n_features] scores of the null; -inf for a feature that stayed unmatched, NaN for a dead one.
    strata
        Of those features.

    Returns
    -------
    [n_pairs]; NaN where the score is unknown, the feature has no stratum, or the null no score.
    """
    p = np.full(observed.size, np.nan)
    for s in range(strata.n):
        pool = np.sort(_pool(null, strata, s))
        here = np.flatnonzero(strata.code[features] == s)
        if pool.size:
            beaten = pool.size - np.searchsorted(pool, observed[here], side="left")
            p[here] = (1 + beaten) / (1 + pool.size)
    return np.where(np.isnan(observed), np.nan, p)


def null_quantile(null: FloatArray, strata: Strata, level: float) -> FloatArray:
    """[n_strata] the null's ``level`` quantile; -inf where most of it is unmatched, NaN where there is none."""
    found = np.full(strata.n, np.nan)
    for s in range(strata.n):
        pool = _pool(null, strata, s)
        if pool.size:
            found[s] = np.quantile(pool, level, method="higher")
    return found


def _pool(null: FloatArray, strata: Strata, s: int) -> FloatArray:
    scores = null[:, strata.code == s].ravel()
    return scores[~np.isnan(scores)]

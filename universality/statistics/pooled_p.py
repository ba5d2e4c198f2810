"""p-values from null scores that are pooled over the features of one class.

K replicates alone cannot give a p below 1 / (K + 1), which no correction for thousands of features would survive. So
the null scores of all features in a class (`universality.statistics.null_classes`) form one pool, against which each
of its features is compared.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import false_discovery_control

from universality.arrays import FloatArray, IntArray

ROUNDING = 1e-9  # level * (1 + pool size) is meant to be whole where the level is such a p itself


def pooled_p(observed: FloatArray, null: FloatArray, code: IntArray, features: IntArray) -> FloatArray:
    """Compute p = (1 + #{null >= observed}) / (1 + #null), the null pooled over the features of one class.

    The observed score counts as one more draw of the null (the two ones), so that p is never 0 and
    P(p <= alpha) <= alpha holds for any number of replicates.

    Parameters
    ----------
    observed
        [n] scores; -inf for an unmatched feature, NaN for an unknown score.
    null
        [n_replicates, n_features] scores of the null; -inf for a feature that stayed unmatched, NaN for a dead one.
    code
        [n_features] class of each feature, -1 for none.
    features
        [n] the feature that each score belongs to.

    Returns
    -------
    float64 [n]
        NaN where the score is unknown, the feature has no class, or its pool is empty.

    References
    ----------
    Phipson & Smyth 2010, *Permutation p-values should never be zero*.

    Examples
    --------
    >>> null = np.array([[0.1, 0.3, 0.2], [0.2, 0.1, 0.9]])
    >>> code = np.array([0, 0, 1])  # the third feature is alone in its class
    >>> pooled_p(np.array([0.25, 0.5]), null, code, features=np.array([0, 2])).round(2)
    array([0.4 , 0.67])
    """
    p = np.full(observed.size, np.nan)
    for here, pool in _pools(null, code, features):
        n_reached = pool.size - np.searchsorted(pool, observed[here], side="left")
        p[here] = (1 + n_reached) / (1 + pool.size)
    return np.where(np.isnan(observed), np.nan, p)


def null_quantile(null: FloatArray, code: IntArray, features: IntArray, level: float) -> FloatArray:
    """Compute the ``level`` quantile [n] of each feature's pool.

    -inf where most of the pool is unmatched, NaN where it is empty.
    """
    quantile = np.full(features.size, np.nan)
    for here, pool in _pools(null, code, features):
        quantile[here] = np.quantile(pool, level, method="higher")
    return quantile


def beyond_chance(null: FloatArray, code: IntArray, features: IntArray, level: float) -> FloatArray:
    """Compute the score [n] that each feature must exceed for a pooled p of at most ``level``.

    Infinite where the pool is too small for any score to reach that p, NaN where it is empty.
    """
    bound = np.full(features.size, np.nan)
    for here, pool in _pools(null, code, features):
        # p <= level iff at most this many null scores reach the observed one.
        allowed = int(np.floor(level * (1 + pool.size) + ROUNDING)) - 1
        bound[here] = np.inf if allowed < 0 else -np.inf if allowed >= pool.size else pool[pool.size - 1 - allowed]
    return bound


def corrected(p: FloatArray, n_unpaired: int, alpha: float) -> tuple[FloatArray, float]:
    """Correct p-values for multiple testing by Benjamini and Hochberg's procedure.

    Parameters
    ----------
    p
        [n_pairs]; NaN for pairs that are not tested.
    n_unpaired
        Features without a partner; each enters the correction with a p of 1, as the null counts its unmatched
        features.
    alpha
        False discovery rate aimed at.

    Returns
    -------
    q : float64 [n_pairs]
        NaN where p is.
    level : float
        The largest p with q <= alpha; where there is none, the p that a first discovery would need.
    """
    tested, q = np.flatnonzero(~np.isnan(p)), np.full(p.size, np.nan)
    if not tested.size:
        return q, alpha
    with_unpaired = np.concatenate([p[tested], np.ones(n_unpaired)])
    q[tested] = false_discovery_control(with_unpaired, method="bh")[: tested.size]
    rejected = p[tested][q[tested] <= alpha]
    return q, float(rejected.max()) if rejected.size else alpha / with_unpaired.size


def _pools(null: FloatArray, code: IntArray, features: IntArray) -> Iterator[tuple[IntArray, FloatArray]]:
    """Yield for each class the positions in ``features`` that belong to it, and its null scores in rising order."""
    for c in np.unique(code[code >= 0]):
        pool = null[:, code == c].ravel()
        pool = np.sort(pool[~np.isnan(pool)])
        if pool.size:
            yield np.flatnonzero(code[features] == c), pool

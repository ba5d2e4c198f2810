r"""p-values of the best of several scores, from nulls that take the best of as many.

Each concept has one observed score T and R scores of its null. The null of one concept cannot give a p below
1 / (R + 1), so that of all concepts is pooled. Concepts differ in what chance gives (a broad description fits many
features), so every score is first compared with its own concept's null:

.. math:: t = \frac{T - m}{(s + s_0) \sqrt{1 + 1 / R}},

m and s being mean and standard deviation of the null. A null score is compared with the R - 1 others of its concept in
the same way. s_0, the median of s over concepts, keeps a small s from making a small difference large (Tusher,
Tibshirani & Chu 2001, *PNAS* 98).

That leaves the assumption that t has one distribution under all concepts. `own_p` does without it, and a concept counts
as found only if both agree.
"""

from __future__ import annotations

import numpy as np

from universality.arrays import BoolArray, FloatArray

LEAST_SPREAD = 0.01
"""Least s_0. The scores of about 60 judged excerpts differ by steps of this size."""
_ROUNDING = 1e-9


def own_p(observed: FloatArray, null: FloatArray) -> FloatArray:
    """Compute p = (1 + #{null >= observed}) / (1 + R) for each concept [n] from its own null [n, R].

    NaN where the observed score is, or no null score is known.

    Examples
    --------
    >>> own_p(np.array([0.9]), np.array([[0.5, 0.6, 0.5]]))
    array([0.25])
    """
    known = ~np.isnan(null)
    reached = (null >= observed[:, None] - _ROUNDING) & known
    p = (1 + reached.sum(axis=1)) / (1 + known.sum(axis=1))
    return np.where(np.isnan(observed) | ~known.any(axis=1), np.nan, p)


def pooled_best_p(observed: FloatArray, null: FloatArray) -> FloatArray:
    """Compute the p of each concept's best score from the nulls of all concepts.

    Parameters
    ----------
    observed
        [n] best score of each concept; NaN where there is none.
    null
        [n, R] best scores under the null, each of as many features; NaN where there is none.

    Returns
    -------
    float64 [n]
        NaN where the observed score is, or fewer than three null scores are known.

    Examples
    --------
    >>> null = np.array([[0.5, 0.6, 0.5, 0.6], [0.7, 0.8, 0.7, 0.8]])
    >>> pooled_best_p(np.array([0.95, 0.75]), null).round(2)
    array([0.11, 0.56])
    """
    known = ~np.isnan(null)
    n = known.sum(axis=1)
    usable = n >= 3
    p = np.full(observed.shape, np.nan)
    if not usable.any():
        return p
    observed, null, known, n = observed[usable], null[usable], known[usable], n[usable]
    mean, spread = _moments(null, known)
    least = max(float(np.median(spread)), LEAST_SPREAD)
    t = (observed - mean) / ((spread + least) * np.sqrt(1 + 1 / n))
    pool = []
    for left_out in range(null.shape[1]):
        others = known.copy()
        others[:, left_out] = False
        mean, spread = _moments(null, others)
        of_null = (null[:, left_out] - mean) / ((spread + least) * np.sqrt(1 + 1 / others.sum(axis=1)))
        pool.append(of_null[known[:, left_out]])
    pooled = np.sort(np.concatenate(pool))
    reached = pooled.size - np.searchsorted(pooled, t - _ROUNDING, side="left")
    p[usable] = np.where(np.isnan(t), np.nan, (1 + reached) / (1 + pooled.size))
    return p


def _moments(values: FloatArray, used: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of each row over the used values."""
    n = used.sum(axis=1)
    mean = np.where(used, values, 0).sum(axis=1) / n
    squares = np.where(used, (values - mean[:, None]) ** 2, 0).sum(axis=1)
    return mean, np.sqrt(squares / (n - 1))

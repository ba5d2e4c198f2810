"""Medians and quantiles of scores over a stated population: features with a score, or all features."""

import math

import numpy as np

from universality.arrays import FloatArray


def known_median(scores: FloatArray) -> float:
    """Compute the median of the scores that are not NaN; NaN if all are.

    >>> known_median(np.array([0.1, np.nan, 0.5]))
    0.3
    """
    defined = scores[~np.isnan(scores)]
    return float(np.median(defined)) if defined.size else float("nan")


def median_of_all(scores: FloatArray, n: int) -> float:
    """Compute the median over ``n`` features, of which those without a score rank below every score.

    NaN if at most half of them have a score.

    >>> median_of_all(np.array([0.1, 0.5, 0.7]), 3), median_of_all(np.array([0.5, 0.7, np.nan]), 4)
    (0.5, nan)
    """
    return quantile_of_all(scores, n, 0.5)


def quantile_of_all(scores: FloatArray, n: int, level: float) -> float:
    """Compute a quantile over ``n`` features, of which those without a score rank below every score.

    Parameters
    ----------
    scores
        At most n scores; NaN or negative infinity stands for none.
    n
        Size of the population, including features that ``scores`` does not list.
    level
        Share of the population that lies below the quantile, from 0 to 1.

    Returns
    -------
    float
        Linearly interpolated; NaN where the quantile falls among the features without a score.

    >>> quantile_of_all(np.array([0.2, 0.4]), 4, 0.5), quantile_of_all(np.array([0.2, 0.4]), 4, 1.0)
    (nan, 0.4)
    """
    ranked = np.sort(scores[np.isfinite(scores)])
    rank = level * (n - 1) - (n - ranked.size)
    if not ranked.size or rank < 0:
        return math.nan
    return float(np.interp(rank, np.arange(ranked.size), ranked))

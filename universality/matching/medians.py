"""Medians and quantiles of scores, each with its population: the things that have a score, or all things."""

import math

import numpy as np

from universality.arrays import FloatArray


def known_median(scores: FloatArray) -> float:
    """The median of the scores that are known; NaN where none is.

    >>> known_median(np.array([0.1, np.nan, 0.5]))
    0.3
    """
    known = scores[~np.isnan(scores)]
    return float(np.median(known)) if known.size else float("nan")


def median_of_all(scores: FloatArray, n: int) -> float:
    """The score that half of ``n`` things reach, where those without a score reach none.

    NaN where at most half of them have a score: no score is reached by half then.

    >>> median_of_all(np.array([0.1, 0.5, 0.7]), 3), median_of_all(np.array([0.5, 0.7, np.nan]), 4)
    (0.5, nan)
    """
    return quantile_of_all(scores, n, 0.5)


def quantile_of_all(scores: FloatArray, n: int, level: float) -> float:
    """A quantile of ``n`` things, linearly interpolated, where those without a score lie below every score.

    Parameters
    ----------
    scores
        At most n; NaN, or negative infinity, for none.
    n
        Things, those that ``scores`` does not name included.
    level
        Share of all things that lie below, from 0 to 1.

    Returns
    -------
    float
        NaN where the quantile is one of those without a score.

    >>> quantile_of_all(np.array([0.2, 0.4]), 4, 0.5), quantile_of_all(np.array([0.2, 0.4]), 4, 1.0)
    (nan, 0.4)
    """
    known = np.sort(scores[np.isfinite(scores)])
    below = n - known.size
    place = level * (n - 1) - below
    if not known.size or place < 0:
        return math.nan
    return float(np.interp(place, np.arange(known.size), known))

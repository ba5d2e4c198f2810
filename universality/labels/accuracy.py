"""Balanced accuracy with an interval over works of text.

Balanced accuracy is the mean of two shares: true items judged true, and false items judged false. Chance gives 0.5,
whatever the numbers of items. Each share has a Wilson interval, in which n is divided by the design effect of works,
since items of one work are not independent. The method of variance estimates recovery joins the two intervals.

Wilson 1927, *JASA* 22; Rao & Scott 1992, *Biometrics* 48 (design effect); Zou & Donner 2008, *Statistics in Medicine*
27 (recovery of variance estimates).
"""

from __future__ import annotations

from math import hypot

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from universality.arrays import BoolArray, FloatArray


def balanced_accuracy(
    guess: FloatArray, truth: BoolArray, work: npt.NDArray[np.integer], level: float = 0.95
) -> tuple[float, float, float]:
    """Compute the mean of the shares of true and of false items judged correctly, with an interval over works.

    Parameters
    ----------
    guess
        float [n], 1 for yes, 0 for no, NaN for items to be left out.
    truth
        bool [n].
    work
        [n] independent unit of text of each item.
    level
        Nominal coverage.

    Returns
    -------
    value, low, high : float
        NaN where one of the two classes has no item; bounds NaN where a class has items of a single work.

    Examples
    --------
    >>> truth = np.array([True] * 10 + [False] * 10)
    >>> value, low, high = balanced_accuracy(truth.astype(float), truth, np.arange(20))
    >>> value, round(low, 2), high
    (1.0, 0.8, 1.0)
    """
    answered = ~np.isnan(guess)
    shares = [
        _share((guess[chosen] == kind), work[chosen], level)
        for kind, chosen in ((1, answered & truth), (0, answered & ~truth))
    ]
    (yes, yes_low, yes_high), (no, no_low, no_high) = shares
    below, above = hypot(yes - yes_low, no - no_low) / 2, hypot(yes_high - yes, no_high - no) / 2
    return (yes + no) / 2, (yes + no) / 2 - below, (yes + no) / 2 + above


def _share(correct: BoolArray, work: npt.NDArray[np.integer], level: float) -> tuple[float, float, float]:
    """Share of correct items with its Wilson interval, n divided by the design effect of works."""
    n = correct.size
    if not n:
        return (float("nan"),) * 3
    p, n_works = float(correct.mean()), len(np.unique(work))
    if n_works < 2:
        return p, float("nan"), float("nan")
    effective = n / _design_effect(correct, work)
    z = float(ndtri((1 + level) / 2))
    centre = (p + z * z / (2 * effective)) / (1 + z * z / effective)
    reach = z / (1 + z * z / effective) * np.sqrt(p * (1 - p) / effective + z * z / (4 * effective**2))
    return p, float(min(p, centre - reach)), float(max(p, centre + reach))


def _design_effect(correct: BoolArray, work: npt.NDArray[np.integer]) -> float:
    """Variance of the share over works, relative to that of independent items; at least 1."""
    n, p = correct.size, float(correct.mean())
    code = np.unique(work, return_inverse=True)[1]
    n_works = int(code.max()) + 1
    if p in (0.0, 1.0):
        return n / n_works  # no variance to be seen: each work counts once
    residual = np.bincount(code, correct - p, n_works)
    return max(1.0, float(n_works / (n_works - 1) * (residual**2).sum() / (n * p * (1 - p))))

"""Balanced accuracy with an interval over works of text.

Balanced accuracy is the mean of two shares: true items judged true, and false items judged false. Chance gives 0.5,
whatever the numbers of items. Each share has a Wilson interval, in which n is divided by the design effect of works,
since items of one work are not independent. The method of variance estimates recovery joins the two intervals, with the
correlation of the shares where they rest on the same works.

Wilson 1927, *JASA* 22; Rao & Scott 1992, *Biometrics* 48 (design effect); Zou & Donner 2008, *Statistics in Medicine*
27 (recovery of variance estimates).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from universality.arrays import BoolArray, FloatArray, IntArray


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
    code = np.unique(work, return_inverse=True)[1]
    right = guess == truth
    yes, no = (_Share.of(right[chosen], code[chosen]) for chosen in (answered & truth, answered & ~truth))
    (yes_low, yes_high), (no_low, no_high) = yes.interval(level), no.interval(level)
    value, together = (yes.p + no.p) / 2, _correlation(yes, no)
    below = _joined(yes.p - yes_low, no.p - no_low, together) / 2
    above = _joined(yes_high - yes.p, no_high - no.p, together) / 2
    return value, value - below, value + above


def weighted_share(
    correct: BoolArray, weight: FloatArray, work: npt.NDArray[np.integer], level: float = 0.95
) -> tuple[float, float, float]:
    """Compute a weighted share of items, with Wilson's interval over works.

    The interval's n is the effective number of Kish 1965, *Survey Sampling*, (Σw)² / Σw², divided by the design effect
    of works; Dean & Pagano 2015, *J. Survey Statistics and Methodology* 3, compare such intervals.

    Parameters
    ----------
    correct, weight, work
        [n] whether the item counts, its weight (above 0), and its independent unit of text.
    level
        Nominal coverage.

    Returns
    -------
    p, low, high : float
        NaN without an item; bounds NaN from a single work.

    Examples
    --------
    >>> p, low, high = weighted_share(np.array([True, False]), np.array([3.0, 1.0]), np.array([0, 1]))
    >>> p, round(low, 2), round(high, 2)
    (0.75, 0.17, 0.98)
    """
    share = _Share.of(correct, work, weight)
    return share.p, *share.interval(level)


@dataclass(frozen=True, eq=False)
class _Share:
    """A share of correct items: p, their effective number, and the sum of (correct - p) over the items of each work.

    Weights are scaled so that their sum is the effective number; equal weights are 1.
    """

    p: float
    n: float
    work: IntArray
    residual: FloatArray

    @classmethod
    def of(cls, correct: BoolArray, work: npt.NDArray[np.integer], weight: FloatArray | None = None) -> _Share:
        works, code = np.unique(work, return_inverse=True)
        if not correct.size:
            return cls(float("nan"), 0, works, np.zeros(0))
        weight = np.ones(correct.size) if weight is None else weight
        p, n = float(np.average(correct, weights=weight)), float(weight.sum() ** 2 / (weight**2).sum())
        scaled = (correct - p) * weight * (n / weight.sum())
        return cls(p, n, works, np.bincount(code, scaled, len(works)).astype(np.float64))

    def interval(self, level: float) -> tuple[float, float]:
        """Wilson's interval; NaN from fewer than two works."""
        if len(self.work) < 2:
            return float("nan"), float("nan")
        n, z = self.n / self._design_effect(), float(ndtri((1 + level) / 2))
        centre = (self.p + z * z / (2 * n)) / (1 + z * z / n)
        reach = z / (1 + z * z / n) * sqrt(self.p * (1 - self.p) / n + z * z / (4 * n**2))
        return min(self.p, centre - reach), max(self.p, centre + reach)

    def _design_effect(self) -> float:
        """Variance of the share over works, relative to that of independent items; at least 1."""
        n, n_works = self.n, len(self.work)
        if self.p in (0.0, 1.0):
            return max(1.0, n / n_works)  # no variance to be seen: each work counts once
        # both variances without bias: 1 where every item is a work
        ratio = n_works / (n_works - 1) * (n - 1) / n * float((self.residual**2).sum())
        return max(1.0, ratio / (n * self.p * (1 - self.p)))


def _correlation(a: _Share, b: _Share) -> float:
    """Correlation of two shares that rest on the same works, 0 where it is negative or cannot be told."""
    _, in_a, in_b = np.intersect1d(a.work, b.work, assume_unique=True, return_indices=True)
    scale = sqrt(float((a.residual**2).sum() * (b.residual**2).sum()))
    return max(0.0, float(a.residual[in_a] @ b.residual[in_b]) / scale) if scale > 0 else 0.0


def _joined(a: float, b: float, correlation: float) -> float:
    return sqrt(a * a + b * b + 2 * correlation * a * b)

"""Intervals of a mean over pairs of seeds, and over documents.

Pairs that share a seed are not independent: six pairs of four seeds are not six measurements. The jackknife therefore
leaves out one seed at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, t

Pair = tuple[int, int]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval; the bounds are NaN if there are too few seeds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def over_seeds(pairs: Mapping[Pair, float], level: float = 0.95) -> Estimate:
    """Return the mean over pairs of seeds, with the jackknife interval.

    With θ₋ᵢ the mean over the pairs without seed i, the standard error is √((n − 1)/n Σ(θ₋ᵢ − θ̄)²) and the interval
    θ ± t(n − 1) of it. For a mean over pairs (a U-statistic) this is too wide rather than too narrow (Arvesen 1969;
    Efron & Stein 1981).

    Parameters
    ----------
    pairs
        (seed, seed) → value; NaN if missing.
    """
    valid = {pair: value for pair, value in pairs.items() if not np.isnan(value)}
    value = float(np.mean(list(valid.values()))) if valid else float("nan")
    seeds = sorted({seed for pair in valid for seed in pair})
    n = len(seeds)
    others = [[v for pair, v in valid.items() if seed not in pair] for seed in seeds]
    if n < 3 or not all(others):  # a seed that is in every pair cannot be left out
        return Estimate(value, float("nan"), float("nan"))
    without = [np.mean(values) for values in others]
    error = np.sqrt((n - 1) / n * np.square(np.subtract(without, np.mean(without))).sum())
    reach = float(t.ppf((1 + level) / 2, n - 1) * error)
    return Estimate(value, value - reach, value + reach)


def of_independent(pairs: Mapping[Pair, float], level: float = 0.95) -> Estimate:
    """Return the mean over pairs that share no seed, with Student's interval."""
    values = np.array(list(pairs.values()))
    if values.size < 2:
        return Estimate(float(values.mean()), float("nan"), float("nan"))
    error = values.std(ddof=1) / np.sqrt(values.size)
    reach = float(t.ppf((1 + level) / 2, values.size - 1) * error)
    return Estimate(float(values.mean()), float(values.mean()) - reach, float(values.mean()) + reach)


def of_draws(value: float, draws: npt.NDArray[np.float64], level: float = 0.95) -> Estimate:
    """Return a number with the normal interval of its bootstrap draws, centred on the number itself.

    Quantiles of the draws are not used. A resample repeats some documents and lacks others, so correlations of rare
    features scatter more and their median falls; the quantiles would lie below the number itself.
    """
    reach = float(norm.ppf((1 + level) / 2) * np.nanstd(draws, ddof=1))
    return Estimate(value, value - reach, value + reach)


def of_differences(of: Mapping[Pair, float], than: Mapping[Pair, float]) -> dict[Pair, float]:
    """Return the differences for the pairs of seeds that both mappings have."""
    return {pair: of[pair] - than[pair] for pair in of if pair in than}

"""Best-match correlations of features, neurons, ceilings and the null, and their numbers."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from universality.matching.medians import median_of_all, quantile_of_all
from universality.statistics import CalibrationSummary
from universality.statistics.calibration import THRESHOLDS

NAN = math.nan
LEAST_DIFFERENCE = 0.02
"""Differences below two units of the last digit that pages print are not called differences."""
Role = Literal["features", "neurons", "ceiling", "null", "control"]


@dataclass(frozen=True, eq=False)
class Sample:
    """Best-match correlations of one population, for a figure and for the numbers beside it.

    Parameters
    ----------
    role
        ``features`` across models; ``neurons`` across models; ``ceiling``, two SAEs of one model that differ in their
        seed only; ``null``, re-paired text; ``control``, anything else.
    label
        Name in legends and tables.
    values
        [n] r of each; NaN for those without a score.
    without
        Number of living features without a partner, which ``values`` leaves out. They count in every share and in the
        median.
    over_works, n_works
        95% interval of the median over works (documents in kinds of few works), pairs held fixed, and the number of
        works.
    """

    role: Role
    label: str
    values: np.ndarray[Any, np.dtype[np.float64]]
    without: int = 0
    over_works: tuple[float, float] = (NAN, NAN)
    n_works: int = 0

    def population(self) -> "Population":
        """Compute the numbers of the sample."""
        values = np.asarray(self.values, dtype=np.float64).ravel()
        scores = np.sort(values[~np.isnan(values)])
        n = values.size + self.without
        low, high = median_interval(scores, n)
        return Population(
            role=self.role,
            label=self.label,
            n=n,
            n_scored=scores.size,
            median=median_of_all(scores, n),
            low=low,
            high=high,
            quantile_95=quantile_of_all(scores, n, 0.95),
            shares=tuple(float((scores >= t).sum() / n) if n else NAN for t in THRESHOLDS),
            low_works=self.over_works[0],
            high_works=self.over_works[1],
            n_works=self.n_works,
            n_without=self.without,
        )


def sample(role: Role, label: str, values: ArrayLike, without: int = 0) -> Sample:
    """Make a ``Sample`` from any array-like."""
    return Sample(role, label, np.asarray(values, dtype=np.float64).ravel(), without)


def median_interval(ordered: np.ndarray[Any, np.dtype[np.float64]], n: int) -> tuple[float, float]:
    """Compute the 95% interval of the median of n features, the unscored ones below all ``ordered`` scores.

    Its ends are order statistics: n / 2 ± 1.96 √n / 2, from the normal limit of the binomial distribution. NaN with
    fewer than eight features, and where an end is an unscored feature.
    """
    without = n - ordered.size
    # the number of features below the true median is binomial(n, 1/2): mean n / 2, deviation √n / 2
    half = 1.96 * math.sqrt(n) / 2
    low = max(0, math.floor(n / 2 - half)) - without
    high = min(n - 1, math.ceil(n / 2 + half) - 1) - without
    return (NAN, NAN) if n < 8 or low < 0 else (float(ordered[low]), float(ordered[high]))


@dataclass(frozen=True)
class Population:
    """Numbers of a ``Sample``, which all count the same ``n`` features; unscored ones lie below every score.

    Parameters
    ----------
    role, label
        As of ``Sample``.
    n, n_scored
        Features counted, and those with a score.
    median, low, high
        Median, NaN where at most half have a score, and its 95% interval over features as independent draws.
    quantile_95
        95% quantile.
    shares
        Shares of ``n`` with a score of at least each of ``THRESHOLDS``.
    low_works, high_works, n_works
        95% interval of the median over works (documents in kinds of few works), pairs held fixed, and the number of
        works.
    n_without
        Features of ``n`` without a partner. The other unscored ones fire too rarely.
    """

    role: Role
    label: str
    n: int
    n_scored: int
    median: float
    low: float = NAN
    high: float = NAN
    quantile_95: float = NAN
    shares: tuple[float, ...] = (NAN, NAN)
    low_works: float = NAN
    high_works: float = NAN
    n_works: int = 0
    n_without: int = 0

    @property
    def unknown(self) -> float:
        """Share that fires too rarely to be scored; 0 for an empty population."""
        return (self.n - self.n_scored - self.n_without) / max(1, self.n)


@dataclass(frozen=True)
class Headline:
    """The comparison that answers the question.

    Parameters
    ----------
    model_a, model_b
        Names of the two sides.
    width
        Features of each dictionary; of the first one where ``width_b`` is given.
    n_tokens
        Held-out tokens on which partners are scored.
    populations
        ``Sample.population`` of features and of whatever else was measured: at most one of each role, but for
        ``ceiling`` (one a model) and ``control``.
    summary
        Numbers of the matching of features.
    neurons
        Numbers of the matching of the models' own units; None where they were not stored.
    units
        Name of the models' own units at the hook, which are neurons only inside an MLP.
    ceilings_of
        Models that have a ceiling, in the order of ``of_all("ceiling")``.
    no_ceilings
        Models whose two SAEs are no ceiling, each with the reason, to follow "two SAEs that".
    seeds_of
        Name of the model where two SAEs of one model are compared, named by ``model_a`` and ``model_b``; None where
        two models are.
    unlike
        How two SAEs of one model differ besides their seed, to follow "two SAEs that"; empty if they do not.
    width_b
        Features of the second dictionary where it has another size; None where it has not.
    apart
        Whether the two were trained apart, unlike layers of one model, or a model and its fine-tuned version.
    """

    model_a: str
    model_b: str
    width: int
    n_tokens: int
    populations: tuple[Population, ...]
    summary: CalibrationSummary = field(default_factory=CalibrationSummary)
    neurons: CalibrationSummary | None = None
    units: str = "neurons"
    ceilings_of: tuple[str, ...] = ()
    no_ceilings: tuple[tuple[str, str], ...] = ()
    seeds_of: str | None = None
    unlike: str = ""
    apart: bool = True
    width_b: int | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """Dictionary sizes: one, or one of each side where they differ."""
        return (self.width,) if self.width_b is None else (self.width, self.width_b)

    def of(self, role: Role) -> Population | None:
        """Return the first population of a role; None if it was not measured or has no score."""
        return next(iter(self.of_all(role)), None)

    def of_all(self, role: Role) -> tuple[Population, ...]:
        """Return the populations of a role that have a score."""
        return tuple(p for p in self.populations if p.role == role and p.n_scored)

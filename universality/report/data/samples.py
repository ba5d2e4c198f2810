"""Best-match correlations of features, neurons, the ceiling and chance, and their numbers."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from universality.matching.medians import median_of_all, quantile_of_all
from universality.statistics.null_settings import NullSettings

NAN = math.nan
THRESHOLDS = (0.5, 0.7)
"""Of r, for the shares that reach it."""
Role = Literal["features", "neurons", "ceiling", "null", "control"]


@dataclass(frozen=True, eq=False)
class Sample:
    """Best-match correlations of one kind of thing, for a picture and for the numbers beside it.

    Parameters
    ----------
    role
        ``features`` across models; ``neurons`` across models; ``ceiling``, two SAEs of one model that differ in their
        seed only; ``null``, re-paired text; ``control``, anything else.
    label
        As the legend names it.
    values
        [n] one r each; NaN where there is none.
    without
        Living features that have no partner, beyond those that are NaN. They count in every share and in the median.
    over_works, n_works
        95% interval of the median over works (documents in kinds of few), pairs held fixed, and how many of them.
    """

    role: Role
    label: str
    values: np.ndarray[Any, np.dtype[np.float64]]
    without: int = 0
    over_works: tuple[float, float] = (NAN, NAN)
    n_works: int = 0

    def population(self) -> "Population":
        """Its numbers."""
        values = np.asarray(self.values, dtype=np.float64).ravel()
        known = np.sort(values[~np.isnan(values)])
        n = values.size + self.without
        low, high = _median_interval(known, n)
        return Population(
            role=self.role,
            label=self.label,
            n=n,
            n_scored=known.size,
            median=median_of_all(known, n),
            low=low,
            high=high,
            quantile_95=quantile_of_all(known, n, 0.95),
            shares=tuple(float((known >= t).sum() / n) if n else NAN for t in THRESHOLDS),
            low_works=self.over_works[0],
            high_works=self.over_works[1],
            n_works=self.n_works,
            n_without=self.without,
        )


def sample(role: Role, label: str, values: ArrayLike, without: int = 0) -> Sample:
    """A ``Sample`` of anything that NumPy reads."""
    return Sample(role, label, np.asarray(values, dtype=np.float64).ravel(), without)


def _median_interval(ordered: np.ndarray[Any, np.dtype[np.float64]], n: int) -> tuple[float, float]:
    """95% interval of the median of n things, of which those without a score lie below the ``ordered`` scores.

    From order statistics: n / 2 ± 1.96 √n / 2, as the binomial's normal limit gives. NaN below eight things, and where
    an end is one of those without a score.
    """
    without = n - ordered.size
    half = 1.96 * math.sqrt(n) / 2
    low = max(0, math.floor(n / 2 - half)) - without
    high = min(n - 1, math.ceil(n / 2 + half) - 1) - without
    return (NAN, NAN) if n < 8 or low < 0 else (float(ordered[low]), float(ordered[high]))


@dataclass(frozen=True)
class Population:
    """Numbers of a ``Sample``, all of the same ``n`` things: one without a score lies below every score.

    Parameters
    ----------
    role, label
        As there.
    n, n_scored
        Things counted, and those with a score.
    median, low, high
        The score that half of them reach, NaN where no more than half have one; with a 95% interval over features, as
        independent draws.
    quantile_95
        95% of them lie below.
    shares
        Of ``n``: scores of at least each of ``THRESHOLDS``.
    low_works, high_works, n_works
        95% interval of the median over works (documents in kinds of few), pairs held fixed, and how many of them.
    n_without
        Those of ``n`` that have no partner. The others without a score fire too rarely to get one.
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
        """Share that fires too rarely to be scored; 0 of nothing."""
        return (self.n - self.n_scored - self.n_without) / max(1, self.n)


@dataclass(frozen=True)
class Headline:
    """The comparison that answers the question.

    Parameters
    ----------
    model_a, model_b
        Names.
    width
        Features of each dictionary.
    n_tokens
        Held-out tokens on which partners are scored.
    populations
        ``Sample.population`` of features and of whatever else was measured, at most one of each role but ``ceiling``,
        of which each model has one, and ``control``.
    method, null
        How partners were found; what was re-paired for the null ("global" or "kind").
    replicates
        Of the null.
    share_significant, share_within_kinds, q_level
        Share of A's living features whose pair has q at most ``q_level`` under that null, and under the null within
        kinds; NaN without it.
    median_chosen
        Median r on the half that chose the partners, of the same features as the held-out median.
    nearest, nearest_neurons
        Median held-out r of every feature's (neuron's) best partner where partners may repeat, as it is published; of
        the same features (neurons).
    units
        What the models' own units at the hook are, in words: not neurons outside an MLP.
    ceilings_of
        The models that have a ceiling, in the order of ``of_all("ceiling")``.
    no_ceilings
        Models whose two SAEs are no ceiling, each with why, to follow "two SAEs that".
    seeds_of
        The model, where two SAEs of one are compared and not two models; ``model_a`` and ``model_b`` name them.
    unlike
        In what two SAEs of one model differ besides their seed, to follow "two SAEs that"; empty if in nothing.
    apart
        Whether the two were trained apart: layers of one model, or a model and its fine-tune, were not.
    """

    model_a: str
    model_b: str
    width: int
    n_tokens: int
    populations: tuple[Population, ...]
    method: str = "hungarian"
    null: str = "global"
    replicates: int = 0
    share_significant: float = NAN
    share_within_kinds: float = NAN
    q_level: float = NullSettings.alpha
    median_chosen: float = NAN
    nearest: float = NAN
    nearest_neurons: float = NAN
    units: str = "neurons"
    ceilings_of: tuple[str, ...] = ()
    no_ceilings: tuple[tuple[str, str], ...] = ()
    seeds_of: str | None = None
    unlike: str = ""
    apart: bool = True

    def of(self, role: Role) -> Population | None:
        """The population of a role, None if it was not measured or has no score."""
        return next(iter(self.of_all(role)), None)

    def of_all(self, role: Role) -> tuple[Population, ...]:
        """The populations of a role that have a score."""
        return tuple(p for p in self.populations if p.role == role and p.n_scored)

"""Bootstrap intervals for the scores of fixed pairs and for their median, over groups of documents or of token types.

Tokens of a document are not independent, and documents of a group may be copies of each other, so whole groups are
resampled with replacement. The pairs stay fixed: sums per group and pair are all that is needed.

r of sparse features depends on few groups, and plain percentiles of the resampled r cover it too seldom. So the
bootstrap is studentised and symmetric, on Fisher's z = artanh r: with u_g the influence of group g on z (jackknife) and
s² = Σ_g u_g² its variance,

    interval = tanh(z ± t s),   t the level's quantile of |z* − z| / s* over the draws, s* from the drawn groups.

The median over pairs is treated like a score: z is the artanh of the median, u_g comes from the medians without group
g. Its interval covers the median of *these* pairs on other documents, as many as these. It does not cover the small
rise of sparse features' r on much more text. Neither interval covers other features, or models trained from another
seed. ``analyses/known_worlds.py`` measures how often both cover.

Hall 1988, *Theoretical comparison of bootstrap confidence intervals*; Efron & Tibshirani 1993, chapters 11 and 12.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray, IntArray
from universality.errors import UniversalityError
from universality.execution import SERIAL, Executor, Shared, run_units
from universality.similarity import DEFAULT_BUDGET, Similarity
from universality.similarity.engine.group_sums import GroupMoments
from universality.statistics.null_settings import NullSettings

LARGEST_R = 1 - 1e-12  # z of a perfect correlation is infinite
MIN_RESAMPLED_GROUPS = 4
"""Smallest number of groups with an interval. With two groups every second draw is one group alone, with three every
ninth: the 95% quantile of t is infinite. From four groups on, simulated intervals cover at least 90%
(``analyses/known_worlds.py --few-groups``)."""
MIN_FIRING = 3  # groups in which a feature of the pair fires: with two, among many, intervals cover 70 to 89%
SAYS_NOTHING = 1.5  # width, of at most 2: a wider interval rests on one or two documents, and is withheld
PORTION = 4096  # pairs of a unit: each unit walks over the tokens once, so many small ones would repeat that
MAX_UNDEFINED = 0.2  # share of draws without a score; a feature of a single group is missing from 37% (1/e) of them


Moments: TypeAlias = Callable[[IntArray, IntArray], GroupMoments]
"""Sums by group of given pairs (rows, columns), such as `Similarity.pairs` with ``by="group"``."""


class Intervals(NamedTuple):
    """Interval bounds over groups; NaN where the groups cannot tell."""

    low: FloatArray
    """[n_pairs]"""
    high: FloatArray
    """[n_pairs]"""
    median: FloatArray
    """[2] low and high of the median over the pairs."""
    n_groups: int
    """Number of groups resampled; in kinds of few groups, each document counts as a group."""


def bootstrap_intervals(
    sim: Similarity,
    rows: IntArray,
    cols: IntArray,
    draws: int = NullSettings.bootstrap,
    seed: int = 0,
    level: float = 0.95,
    memory_budget: int | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Compute studentised bootstrap intervals of Pearson's r for fixed pairs.

    Parameters
    ----------
    sim
        Activation similarity over the documents to resample.
    rows, cols
        [n_pairs].
    draws
        Number of resamples of the groups.
    seed
        Seed for the resampling.
    level
        Nominal coverage, between 0 and 1.
    memory_budget
        Bytes; pairs are processed in portions that fit. None: the similarity's own budget.

    Returns
    -------
    low, high : float64 [n_pairs]
        Bounds of r. NaN where the groups cannot tell: fewer than ``MIN_RESAMPLED_GROUPS`` groups, a pair that fires in
        fewer than ``MIN_FIRING`` of them, a feature that is missing from more than a fifth of the draws, or an interval
        wider than ``SAYS_NOTHING``.
    """
    budget = sim.memory_budget if memory_budget is None else memory_budget
    intervals = resampled(lambda i, j: sim.pairs(i, j, by="group"), rows, cols, draws, seed, level, budget)
    return intervals.low, intervals.high


def resampled(
    moments_of: Moments,
    rows: IntArray,
    cols: IntArray,
    draws: int = NullSettings.bootstrap,
    seed: int = 0,
    level: float = 0.95,
    memory_budget: int = DEFAULT_BUDGET,
    n_of: int | None = None,
    known_only: bool = False,
    executor: Executor = SERIAL,
) -> Intervals:
    """Compute the intervals of `bootstrap_intervals` and that of the median, from one walk over the tokens.

    Parameters
    ----------
    moments_of
        Sums by group of given pairs.
    n_of
        Size of the population of the median: the pairs, and others that have no score and rank below every score. None:
        the pairs alone.
    executor
        Where portions of the pairs are computed; ``moments_of`` must then be picklable.

    Notes
    -----
    The median has no interval where r of all pairs in all draws does not fit into the budget.
    """
    if draws < 1 or not 0 < level < 1:
        raise UniversalityError(f"bootstrap: expected draws >= 1 and 0 < level < 1, found {draws} and {level}")
    low, high, median = np.full(rows.size, np.nan), np.full(rows.size, np.nan), np.full(2, np.nan)
    if not rows.size:
        return Intervals(low, high, median, 0)
    n_groups = len(moments_of(rows[:1], cols[:1]).groups)
    if n_groups < MIN_RESAMPLED_GROUPS:
        return Intervals(low, high, median, n_groups)
    weights = _drawn_weights(n_groups, draws, seed)
    fitting = memory_budget // (8 * (16 * n_groups + 10 * draws))  # pairs at a time: moments, scores, temporaries
    step = min(PORTION, max(1, fitting))
    n_scores = 1 + draws + n_groups
    # float32 halves the memory; its error of 6e-8 is far below the spread between draws.
    all_scores = np.empty((n_scores, rows.size if 4 * n_scores * rows.size <= memory_budget else 0), "f4")
    parts = [slice(start, start + step) for start in range(0, rows.size, step)]
    given = Shared((moments_of, weights, level, all_scores.size > 0))
    units = ((rows[part], cols[part]) for part in parts)
    portions = run_units(executor, _resample_portion, units, given, desc="intervals", total=len(parts))
    for part, (lows, highs, scores) in zip(parts, portions, strict=True):
        low[part], high[part] = lows, highs
        if scores is not None:
            all_scores[:, part] = scores
    if all_scores.size:
        n = rows.size if n_of is None else n_of
        medians = _medians_of_known(all_scores) if known_only else _medians_of_all(all_scores, n)
        median[:] = np.ravel(_studentised(medians[:, None], weights, level))
    return Intervals(low, high, median, n_groups)


def _resample_portion(
    given: tuple[Moments, FloatArray, float, bool], rows: IntArray, cols: IntArray
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.float32] | None]:
    """Compute bounds [n] of a portion of the pairs, and their scores, if those of all pairs are kept."""
    moments_of, weights, level, is_kept = given
    moments = moments_of(rows, cols)
    scores = _all_scores(moments, weights)
    return *_of_pairs(moments, scores, weights, level), scores.astype(np.float32) if is_kept else None


def intervals_from_sums(
    moments: GroupMoments, draws: int, seed: int, level: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """Compute the intervals of `bootstrap_intervals` from sums over groups: bounds [n_pairs] of r."""
    n_groups = len(moments.groups)
    if n_groups < MIN_RESAMPLED_GROUPS or not draws:
        return np.full(moments.sum_a.shape[1], np.nan), np.full(moments.sum_a.shape[1], np.nan)
    weights = _drawn_weights(n_groups, draws, seed)
    return _of_pairs(moments, _all_scores(moments, weights), weights, level)


def _drawn_weights(n_groups: int, draws: int, seed: int) -> FloatArray:
    """Draw how often each group counts in each resample: [n_draws, n_groups]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=draws).astype(np.float64)


def _all_scores(moments: GroupMoments, weights: FloatArray) -> FloatArray:
    """Score all groups, each draw, and all groups but one: [1 + n_draws + n_groups, n_pairs]."""
    return np.vstack([moments.pearson()[None], moments.pearson(weights), moments.without_each()])


def _medians_of_all(scores: FloatArray, n: int) -> FloatArray:
    """Apply `universality.matching.medians.median_of_all` to every row; NaN where at most half have a score."""
    without = n - scores.shape[1]
    place = (n - 1) / 2 - without  # rank of the median among the columns, as all others lie below
    if place < 0:
        return np.full(len(scores), np.nan)
    low, high = int(np.floor(place)), int(np.ceil(place))
    ranked = np.partition(np.where(np.isnan(scores), -np.inf, scores), (low, high), axis=1)
    with np.errstate(invalid="ignore"):
        medians: FloatArray = (ranked[:, low].astype(np.float64) + ranked[:, high]) / 2
    return np.where(np.isfinite(medians), medians, np.nan)


def _medians_of_known(scores: FloatArray) -> FloatArray:
    """Median of the scores in every row, of those that are known; NaN where none is.

    >>> _medians_of_known(np.array([[0.1, np.nan, 0.3], [np.nan, np.nan, np.nan]]))
    array([0.2, nan])
    """
    ranked = np.sort(scores, axis=1).astype(np.float64)  # NaN come last
    n = (~np.isnan(ranked)).sum(axis=1)
    rows = np.arange(len(ranked))
    medians: FloatArray = (ranked[rows, (n - 1) // 2] + ranked[rows, n // 2]) / 2
    return medians


def _of_pairs(
    moments: GroupMoments, scores: FloatArray, weights: FloatArray, level: float
) -> tuple[FloatArray, FloatArray]:
    """Compute bounds [n_pairs], NaN for pairs that fire in too few groups."""
    low, high = _studentised(scores, weights, level)
    enough = ((moments.sum_aa > 0) | (moments.sum_bb > 0)).sum(axis=0) >= MIN_FIRING
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


def _studentised(scores: FloatArray, weights: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Compute tanh(z ± t s) [n], NaN where the groups cannot tell.

    Parameters
    ----------
    scores
        [1 + n_draws + n_groups, n] the score of all groups, of each draw, and with each group left out.
    weights
        [n_draws, n_groups] number of times each group was drawn.
    """
    n_draws, n_groups = weights.shape
    z, drawn, left_out = np.split(_fisher(scores), [1, 1 + n_draws])
    z = z[0]
    # Any constant factor here cancels: it enters s in `spread`, and 1 / s* in t.
    influence = (n_groups - 1) / n_groups * (left_out.mean(axis=0) - left_out)
    spread = _spread(influence, np.ones((1, n_groups)))[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        # A draw of one group alone has s* = 0 and t = inf. Infinities stay in as the largest t: without them the
        # quantile would be of the other draws, which for two groups is only the original sample (t = 0).
        t = np.abs(drawn - z) / _spread(influence, weights)
    enough = (~np.isnan(drawn)).mean(axis=0) >= 1 - MAX_UNDEFINED
    has_t = enough & ~np.isnan(t).all(axis=0)
    reach = np.zeros(z.size)  # 0 where t is 0/0 throughout: every draw gave the score itself, without spread
    # "higher" never averages a finite t with an infinite one.
    reach[has_t] = np.nanquantile(t[:, has_t], level, axis=0, method="higher")
    with np.errstate(invalid="ignore"):
        reach = np.where(enough & ~np.isnan(spread), reach * spread, np.nan)
        low, high = np.tanh(z - reach), np.tanh(z + reach)
    narrow = high - low <= SAYS_NOTHING
    return np.where(narrow, low, np.nan), np.where(narrow, high, np.nan)


def _fisher(r: FloatArray) -> FloatArray:
    """Compute Fisher's z, finite also for r = ±1."""
    return np.arctanh(np.clip(r, -LARGEST_R, LARGEST_R))


def _spread(influence: FloatArray, weights: FloatArray) -> FloatArray:
    """Compute the standard error of z [n_draws, n_pairs] with every group counted ``weights`` times."""
    total = weights @ influence
    # Rounding may make the variance of equal influences negative.
    return np.sqrt(np.maximum(weights @ influence**2 - total**2 / weights.shape[1], 0))

"""Intervals for the scores of fixed pairs and for their median, from resampling groups of documents.

Tokens of a document are not independent and documents of a group may be copies, so groups are drawn, with
replacement. The pairs stay fixed: sums per group and pair are all that is needed.

r of sparse features hangs on few groups, where plain percentiles of the resampled r cover it too seldom. So the
bootstrap is studentised and symmetric, on Fisher's z = artanh r: with u_g the influence of group g on z (jackknife) and
s² = Σ_g u_g² its variance,

    interval = tanh(z ± t s),   t the level's quantile of |z* − z| / s* over the draws, s* from the drawn groups.

The median over pairs is treated like a score: z the artanh of the median, u_g from the medians without group g. It
says where other documents, as many as these, would put the median of *these* pairs. The r of sparse features rises a
little with much more text, which it does not cover; neither it nor a pair's interval covers other features, or models
trained from another seed. ``analyses/known_worlds.py`` measures how often both cover.

Hall 1988, *Theoretical comparison of bootstrap confidence intervals*; Efron & Tibshirani 1993, chapters 11 and 12.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from universality.arrays import FloatArray, IntArray
from universality.errors import UniversalityError
from universality.similarity import Similarity
from universality.similarity.engine.group_sums import GroupMoments
from universality.statistics.null_settings import NullSettings

LARGEST_R = 1 - 1e-12  # z of a perfect correlation is infinite
MIN_GROUPS = 4
"""Least number of groups with an interval. Of two groups every second draw is one of them alone, of three every ninth:
no level's quantile is known. From four on simulated intervals cover at least 90% (``analyses/known_worlds.py
--few-groups``)."""
MIN_FIRING = 3  # groups in which one of the pair fires: in two, among many, intervals cover 70 to 89%
SAYS_NOTHING = 1.5  # of the 2 from -1 to 1: a wider interval is that of one or two documents, and is withheld
MAX_UNDEFINED = 0.2  # share of draws without a score; a feature of one single group is missing from 37% of them


class Intervals(NamedTuple):
    """Bounds over groups of documents; NaN where groups cannot tell."""

    low: FloatArray
    """[n_pairs]"""
    high: FloatArray
    """[n_pairs]"""
    median: FloatArray
    """[2] low and high of the median over the pairs."""
    n_groups: int
    """Groups that were resampled; documents in kinds of few groups."""


def bootstrap_intervals(
    sim: Similarity,
    rows: IntArray,
    cols: IntArray,
    draws: int = NullSettings.bootstrap,
    seed: int = 0,
    level: float = 0.95,
    memory_budget: int | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Studentised bootstrap intervals of Pearson's r for fixed pairs.

    Parameters
    ----------
    sim
        Activation similarity over the documents to resample.
    rows, cols
        [n_pairs].
    draws
        Resamples of the groups.
    seed
        Of the resampling.
    level
        Coverage aimed at.
    memory_budget
        Bytes; pairs are handled in portions that fit. None: the similarity's own.

    Returns
    -------
    low, high : float64 [n_pairs]
        About r; NaN where groups cannot tell: fewer than ``MIN_GROUPS`` groups, a pair that fires in fewer than
        ``MIN_FIRING`` of them, a feature that is missing from more than a fifth of the draws, or an interval wider than
        ``SAYS_NOTHING``.
    """
    found = resampled(sim, rows, cols, draws, seed, level, memory_budget)
    return found.low, found.high


def resampled(
    sim: Similarity,
    rows: IntArray,
    cols: IntArray,
    draws: int = NullSettings.bootstrap,
    seed: int = 0,
    level: float = 0.95,
    memory_budget: int | None = None,
    n_of: int | None = None,
) -> Intervals:
    """Intervals of fixed pairs as `bootstrap_intervals` gives them, and of their median, from the same walk.

    Parameters
    ----------
    n_of
        Things that the median is of: the pairs, and others that have no score and lie below every score. None: the
        pairs alone.

    Notes
    -----
    The median's interval is left out where r of all pairs in all draws does not fit into the budget.
    """
    if draws < 1 or not 0 < level < 1:
        raise UniversalityError(f"bootstrap: expected draws >= 1 and 0 < level < 1, found {draws} and {level}")
    low, high, median = np.full(rows.size, np.nan), np.full(rows.size, np.nan), np.full(2, np.nan)
    if not rows.size:
        return Intervals(low, high, median, 0)
    budget = sim.memory_budget if memory_budget is None else memory_budget
    n_groups = len(sim.pairs(rows[:1], cols[:1], by="group").groups)
    if n_groups < MIN_GROUPS:
        return Intervals(low, high, median, n_groups)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=draws).astype(np.float64)
    step = max(1, budget // (8 * (16 * n_groups + 10 * draws)))
    kept = np.empty((1 + draws + n_groups, rows.size if 4 * (1 + draws + n_groups) * rows.size <= budget else 0), "f4")
    for start in range(0, rows.size, step):
        part = slice(start, start + step)
        moments = sim.pairs(rows[part], cols[part], by="group")
        scores = np.vstack([moments.pearson()[None], moments.pearson(weights), moments.without_each()])
        low[part], high[part] = _of_pairs(moments, scores, weights, level)
        if kept.size:
            kept[:, part] = scores
    if kept.size:
        medians = _medians_of_all(kept, rows.size if n_of is None else n_of)
        median[:] = np.ravel(_studentised(medians[:, None], weights, level))
    return Intervals(low, high, median, n_groups)


def _medians_of_all(scores: FloatArray, n: int) -> FloatArray:
    """`universality.matching.medians.median_of_all` of every row [n_rows]; NaN where at most half have a score."""
    without = n - scores.shape[1]
    place = (n - 1) / 2 - without
    if place < 0:
        return np.full(len(scores), np.nan)
    low, high = int(np.floor(place)), int(np.ceil(place))
    ranked = np.partition(np.where(np.isnan(scores), -np.inf, scores), (low, high), axis=1)
    with np.errstate(invalid="ignore"):
        medians: FloatArray = (ranked[:, low].astype(np.float64) + ranked[:, high]) / 2
    return np.where(np.isfinite(medians), medians, np.nan)


def _of_pairs(
    moments: GroupMoments, scores: FloatArray, weights: FloatArray, level: float
) -> tuple[FloatArray, FloatArray]:
    """Bounds [n_pairs], none for pairs that fire in too few groups."""
    low, high = _studentised(scores, weights, level)
    seen = ((moments.sum_aa > 0) | (moments.sum_bb > 0)).sum(axis=0) >= MIN_FIRING
    return np.where(seen, low, np.nan), np.where(seen, high, np.nan)


def _studentised(scores: FloatArray, weights: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """tanh(z ± t s) [n], NaN where groups cannot tell.

    Parameters
    ----------
    scores
        [1 + n_draws + n_groups, n] the score with all groups, then with those of each draw, then with one left out.
    weights
        [n_draws, n_groups] how often each group was drawn.
    """
    n_draws, n_groups = weights.shape
    z, drawn, left_out = np.split(_fisher(scores), [1, 1 + n_draws])
    z = z[0]
    influence = (n_groups - 1) / n_groups * (left_out.mean(axis=0) - left_out)
    spread = _spread(influence, np.ones((1, n_groups)))[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.abs(drawn - z) / _spread(influence, weights)  # infinite where one group was drawn again and again
    enough = (~np.isnan(drawn)).mean(axis=0) >= 1 - MAX_UNDEFINED
    asked = enough & ~np.isnan(t).all(axis=0)
    reach = np.zeros(z.size)  # all draws gave the score itself, with no spread
    reach[asked] = np.nanquantile(t[:, asked], level, axis=0, method="higher")
    with np.errstate(invalid="ignore"):
        reach = np.where(enough & ~np.isnan(spread), reach * spread, np.nan)
        low, high = np.tanh(z - reach), np.tanh(z + reach)
    told = high - low <= SAYS_NOTHING
    return np.where(told, low, np.nan), np.where(told, high, np.nan)


def _fisher(r: FloatArray) -> FloatArray:
    return np.arctanh(np.clip(r, -LARGEST_R, LARGEST_R))


def _spread(influence: FloatArray, weights: FloatArray) -> FloatArray:
    """Standard error of z [n_draws, n_pairs] with every group counted ``weights`` times."""
    total = weights @ influence
    return np.sqrt(np.maximum(weights @ influence**2 - total**2 / weights.shape[1], 0))

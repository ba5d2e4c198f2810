"""Intervals for the scores of fixed pairs, from resampling groups of documents.

Tokens of a document are not independent and documents of a group may be copies, so groups are drawn, with
replacement. The pairs stay fixed: sums per group and pair are all that is needed.
"""

from __future__ import annotations

import numpy as np

from universality.errors import UniversalityError
from universality.similarity import Similarity
from universality.similarity.rows import FloatArray, IntArray

MAX_UNDEFINED = 0.2  # share of draws without a score; a feature of one single group is missing from 37% of them


def bootstrap_intervals(
    sim: Similarity,
    rows: IntArray,
    cols: IntArray,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    memory_budget: int | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Percentile intervals of Pearson's r for fixed pairs.

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
    low, high [n_pairs]; NaN where groups cannot tell: one group alone, or a feature that is missing from more than a
    fifth of the draws because it fires in one or two groups only.
    """
    if draws < 1 or not 0 < level < 1:
        raise UniversalityError(f"bootstrap: expected draws >= 1 and 0 < level < 1, found {draws} and {level}")
    low, high = np.full(rows.size, np.nan), np.full(rows.size, np.nan)
    if not rows.size:
        return low, high
    budget = sim.memory_budget if memory_budget is None else memory_budget
    n_groups = len(sim.pairs(rows[:1], cols[:1], by="group").groups)
    if n_groups < 2:
        return low, high
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=draws).astype(np.float64)
    step = max(1, budget // (8 * (5 * n_groups + 8 * draws)))
    for start in range(0, rows.size, step):
        part = slice(start, start + step)
        r = sim.pairs(rows[part], cols[part], by="group").pearson(weights)
        low[part], high[part] = _percentiles(r, level)
    return low, high


def _percentiles(r: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Percentiles of [n_draws, n_pairs] over the draws that are defined."""
    defined = ~np.isnan(r)
    enough = defined.mean(axis=0) >= 1 - MAX_UNDEFINED
    bounds = np.full((2, r.shape[1]), np.nan)
    tails = ((1 - level) / 2, (1 + level) / 2)
    bounds[:, enough] = np.nanquantile(r[:, enough], tails, axis=0)
    return bounds[0], bounds[1]

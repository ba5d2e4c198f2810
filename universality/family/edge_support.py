"""Bootstrap support of an edge: in how many resamples of the documents it would still be one.

Groups of documents are drawn with replacement (``universality.corpus.units``). From each edge's sums per group,
coverage and masked cosine of every resample follow, and rules 1 and 2 and the least number of firings are asked
again. The edges that are asked are those that were found; decoder rows and the reconstruction test stay as they are.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray, IntArray, runs_within
from universality.corpus.units import independent_units
from universality.family import family_kernels as kernels
from universality.family.edge_rule import EdgeRule
from universality.family.stored_firings import Firings, blocks, firings
from universality.similarity.engine.store_rows import ENTRY_BYTES

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

SUMS = 8
SUMS_BYTES = 64 << 20  # of sums that are held at a time


def draw_groups(store: "FeatureStore", draws: int, seed: int) -> tuple[IntArray, FloatArray]:
    """Group of each token, int64 [n_tokens], and how often each group is drawn, float64 [draws, n_groups]."""
    units = independent_units(store.documents)
    seen, group = np.unique(units.code[store.tokens.document], return_inverse=True)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(seen.size, np.full(seen.size, 1 / seen.size), size=draws)
    return group.astype(np.int64), weights.astype(np.float64)


def support(
    stores: tuple["FeatureStore", "FeatureStore"],
    parent: IntArray,
    child: IntArray,
    rule: EdgeRule,
    group: IntArray,
    weights: FloatArray,
    memory_budget: int,
) -> FloatArray:
    """Share of the draws in which each edge passes: float64 [n_edges].

    Parameters
    ----------
    stores
        The narrower and the wider one.
    parent, child
        [n_edges], by parent, then child.
    rule
        Thresholds.
    group, weights
        Of ``draw_groups``.
    memory_budget
        Bytes for the wider store's firings; larger ones are read in portions.
    """
    low, high = stores
    held = np.empty(parent.size)
    most = max(1, SUMS_BYTES // (8 * SUMS * (weights.shape[1] + len(weights))))
    for children in runs_within(high.moments().count, max(1, memory_budget // (2 * ENTRY_BYTES))):
        theirs = firings(high, *children)
        for block in blocks(low):
            here = np.flatnonzero(
                (parent >= block.low) & (parent < block.high) & (child >= theirs.low) & (child < theirs.high)
            )
            for start in range(0, here.size, most):
                some = here[start : start + most]
                sums = _sums(block, theirs, parent[some], child[some], group, weights.shape[1])
                drawn = (weights @ sums.reshape(len(sums), -1)).reshape(len(weights), some.size, SUMS)
                held[some] = _passes(np.moveaxis(drawn, 2, 0), rule).mean(axis=0)
    return held


def _sums(
    block: Firings, theirs: Firings, parent: IntArray, child: IntArray, group: IntArray, n_groups: int
) -> FloatArray:
    first = np.searchsorted(parent, np.arange(block.low, block.high + 1)).astype(np.int64)
    out = np.zeros((n_groups, parent.size, SUMS))
    kernels.add_groups(block.arrays, theirs.arrays, group, first, child - theirs.low, out)
    return out


def _passes(sums: FloatArray, rule: EdgeRule) -> npt.NDArray[np.bool_]:
    """Rules 1 and 2 on sums [8, n_draws, n_edges]."""
    ab, aa, bb, both, count_a, sum_sq_a, count_b, sum_sq_b = sums
    norm = np.sqrt(np.minimum(sum_sq_a * bb, aa * sum_sq_b))
    masked = np.divide(ab, norm, out=np.zeros_like(ab), where=norm > 0)
    enough = (count_a >= rule.min_firings) & (count_b >= rule.min_firings)
    covered = both >= rule.min_coverage * np.maximum(count_b, 1)
    return np.asarray(enough & covered & (masked >= rule.min_masked_cosine))

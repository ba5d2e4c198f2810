"""Bootstrap support of an edge: the share of resamples of the documents in which it still passes.

Groups of documents (``universality.corpus.units``) are resampled with replacement. From each edge's sums per group,
coverage and masked cosine follow for every resample, and rules 1 and 2 and the minimum number of firings are applied
again. Only edges that were found are resampled; decoder rows and the reconstruction test stay as they are.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from universality.arrays import BoolArray, FloatArray, IntArray, runs_within
from universality.corpus.units import independent_units
from universality.execution import SERIAL, Executor, Shared, run_units
from universality.family import family_kernels as kernels
from universality.family.edge_rule import EdgeRule
from universality.family.stored_firings import Firings, Held, blocks, firings
from universality.similarity.engine.store_rows import ENTRY_BYTES

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

SUMS = 8  # per edge and group, see `family_kernels.add_groups`
SUMS_BYTES = 64 << 20  # sums in memory at a time


def draw_groups(store: "FeatureStore", draws: int, seed: int) -> tuple[IntArray, FloatArray]:
    """Return each token's group, int64 [n_tokens], and the groups' counts in each draw, float64 [draws, n_groups]."""
    units = independent_units(store.documents)
    present, group = np.unique(units.code[store.tokens.document], return_inverse=True)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(present.size, np.full(present.size, 1 / present.size), size=draws)
    return group.astype(np.int64), weights.astype(np.float64)


def support(
    stores: tuple["FeatureStore", "FeatureStore"],
    parent: IntArray,
    child: IntArray,
    rule: EdgeRule,
    group: IntArray,
    weights: FloatArray,
    memory_budget: int,
    executor: Executor = SERIAL,
) -> FloatArray:
    """Compute the share of draws in which each edge passes: float64 [n_edges].

    Parameters
    ----------
    stores
        The narrower and the wider store.
    parent, child
        [n_edges] ends of the edges, by parent, then child.
    rule
        Thresholds.
    group, weights
        Result of ``draw_groups``.
    memory_budget
        Bytes for the wider store's firings; larger stores are read in portions.
    executor
        Where the edges from some parents to some children are resampled.
    """
    share = np.empty(parent.size)
    given = Shared(_Edges(stores, parent, child, rule, group, weights))
    portions = runs_within(stores[1].moments().count, max(1, memory_budget // (2 * ENTRY_BYTES)))
    units = [(children, block) for children in portions for block in blocks(stores[0])]
    for here, shares in run_units(executor, _support_of_block, units, given, desc="edge support", total=len(units)):
        share[here] = shares
    return share


@dataclass(frozen=True, eq=False)
class _Edges:
    """Values that all units share, with the firings of children that a process keeps from one to the next."""

    stores: tuple["FeatureStore", "FeatureStore"]
    parent: IntArray
    child: IntArray
    rule: EdgeRule
    group: IntArray
    weights: FloatArray
    held: Held[Firings] = field(default_factory=Held)


def _support_of_block(edges: _Edges, children: tuple[int, int], block: tuple[int, int]) -> tuple[IntArray, FloatArray]:
    """Compute the support of the edges from a block of parents to some children: their numbers [n], shares [n]."""
    parent, child, weights = edges.parent, edges.child, edges.weights
    here = np.flatnonzero((parent >= block[0]) & (parent < block[1]) & (child >= children[0]) & (child < children[1]))
    shares, n_groups = np.empty(here.size), weights.shape[1]
    if not here.size:
        return here, shares
    in_high = edges.held.get(children, lambda: firings(edges.stores[1], *children))
    in_low = firings(edges.stores[0], *block)
    n_at_once = max(1, SUMS_BYTES // (8 * SUMS * (n_groups + len(weights))))
    for start in range(0, here.size, n_at_once):
        some = here[start : start + n_at_once]
        sums = _sums(in_low, in_high, parent[some], child[some], edges.group, n_groups)
        # Sums of a resample are the groups' sums times their counts: one product for all draws and edges.
        drawn = (weights @ sums.reshape(n_groups, -1)).reshape(len(weights), some.size, SUMS)
        shares[start : start + some.size] = _passes(np.moveaxis(drawn, 2, 0), edges.rule).mean(axis=0)
    return here, shares


def _sums(
    block: Firings, in_high: Firings, parent: IntArray, child: IntArray, group: IntArray, n_groups: int
) -> FloatArray:
    """Compute the sums of each edge over the tokens of each group: [n_groups, n_edges, 8]."""
    first = np.searchsorted(parent, np.arange(block.low, block.high + 1)).astype(np.int64)
    out = np.zeros((n_groups, parent.size, SUMS))
    kernels.add_groups(block.arrays, in_high.arrays, group, first, child - in_high.low, out)
    return out


def _passes(sums: FloatArray, rule: EdgeRule) -> BoolArray:
    """Apply rules 1 and 2 to sums [8, n_draws, n_edges]."""
    ab, aa, bb, both, count_a, sum_sq_a, count_b, sum_sq_b = sums
    norm = np.sqrt(np.minimum(sum_sq_a * bb, aa * sum_sq_b))
    masked = np.divide(ab, norm, out=np.zeros_like(ab), where=norm > 0)
    enough = (count_a >= rule.min_firings) & (count_b >= rule.min_firings)
    covered = both >= rule.min_coverage * np.maximum(count_b, 1)  # a product: a draw may lack the child altogether
    return np.asarray(enough & covered & (masked >= rule.min_masked_cosine))

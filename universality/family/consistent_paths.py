"""Path self-consistency: do two small steps lead where one large one does?

For a feature of width n the features of width 4n, say, that its edges reach by way of 2n are compared with those that
direct edges reach: the Jaccard index of the two sets, averaged over the features that reach any. Chance is the same
with every feature's direct set exchanged for another's.

Reference: O'Neill et al. 2024.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from universality.arrays import FloatArray, IntArray
from universality.family.dictionaries import Level
from universality.family.edges import Edges

SHUFFLES = 20


@dataclass(frozen=True)
class PathConsistency:
    """Two steps against one.

    Parameters
    ----------
    level
        Where both begin; they end two levels on.
    features
        Features of that level that reach any, by either way.
    jaccard
        Mean over those; None if there are none.
    chance
        The same with the direct sets exchanged; None if there are none.
    """

    level: int
    features: int
    jaccard: float | None
    chance: float | None


def path_consistency(
    level: int, levels: tuple[Level, ...], edges: Edges, direct: tuple[IntArray, IntArray], seed: int
) -> PathConsistency:
    """Compare the edges of two steps with direct ones.

    Parameters
    ----------
    level
        Where to begin.
    levels, edges
        Of the family graph.
    direct
        (parent, child) edges from this level to the one after the next.
    seed
        Of the exchange.
    """
    widths = [some.width for some in levels[level : level + 3]]
    by_steps = _matrix(edges, level, widths[0], widths[1]) @ _matrix(edges, level + 1, widths[1], widths[2])
    at_once = sparse.csr_matrix((np.ones(direct[0].size), direct), shape=(widths[0], widths[2]))
    by_steps.data[:] = 1
    found = _jaccard(by_steps, at_once)
    reached = ~np.isnan(found)
    if not reached.any():
        return PathConsistency(level, 0, None, None)
    rng = np.random.default_rng(seed)
    own = np.flatnonzero(reached)
    shuffled = [np.nanmean(_jaccard(by_steps[own], at_once[rng.permutation(own)])) for _ in range(SHUFFLES)]
    return PathConsistency(level, own.size, float(found[reached].mean()), float(np.mean(shuffled)))


def _matrix(edges: Edges, level: int, n: int, m: int) -> sparse.csr_matrix:
    here = edges.level == level
    ends = edges.parent[here], edges.child[here]
    return sparse.csr_matrix((np.ones(int(here.sum())), ends), shape=(n, m))


def _jaccard(a: sparse.csr_matrix, b: sparse.csr_matrix) -> FloatArray:
    """Of the sets of columns in each row of two 0-1 matrices; NaN where both are empty."""
    both = np.asarray(a.multiply(b).sum(axis=1)).ravel()
    either = np.asarray(a.sum(axis=1)).ravel() + np.asarray(b.sum(axis=1)).ravel() - both
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)

"""Path self-consistency: agreement of two small steps in width with one large step.

For a feature of width n, say, the features of width 4n that its edges reach by way of width 2n are compared with those
that direct edges reach. The measure is the Jaccard index of the two sets, averaged over the features that reach any.
Chance is the same with the direct sets permuted among these features.

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
    """Agreement of two steps with one.

    Parameters
    ----------
    level
        Level from which both ways start; they end two levels above.
    features
        Number of features of that level that reach any feature, by either way.
    jaccard
        Mean Jaccard index over those features; None if there are none.
    chance
        The same with the direct sets permuted; None if there are none.
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
        Level from which to start.
    levels, edges
        Levels and edges of the family graph.
    direct
        (parent, child) of the edges from this level to the one after the next.
    seed
        Seed for the permutations.

    Examples
    --------
    One feature splits in two steps into the two features that it reaches directly:

    >>> levels = tuple(Level("", 1, np.ones(n, int), np.ones(n), np.ones(n), ("text",) * n) for n in (1, 2, 3))
    >>> ends = {"level": [0, 1, 1], "parent": [0, 0, 0], "child": [0, 0, 1]}
    >>> others = [np.ones(3)] * 7
    >>> edges = Edges(*(np.array(column) for column in ends.values()), *others)
    >>> path_consistency(0, levels, edges, (np.array([0, 0]), np.array([0, 1])), seed=0).jaccard
    1.0
    """
    widths = [one.width for one in levels[level : level + 3]]
    by_steps = _matrix(edges, level, widths[0], widths[1]) @ _matrix(edges, level + 1, widths[1], widths[2])
    at_once = sparse.csr_matrix((np.ones(direct[0].size), direct), shape=(widths[0], widths[2]))
    by_steps.data[:] = 1  # the product counts paths; only whether there is one matters
    index = _jaccard(by_steps, at_once)
    features = np.flatnonzero(~np.isnan(index))
    if not features.size:
        return PathConsistency(level, 0, None, None)
    rng = np.random.default_rng(seed)
    shuffled = [np.nanmean(_jaccard(by_steps[features], at_once[rng.permutation(features)])) for _ in range(SHUFFLES)]
    return PathConsistency(level, features.size, float(index[features].mean()), float(np.mean(shuffled)))


def _matrix(edges: Edges, level: int, n: int, m: int) -> sparse.csr_matrix:
    """Build the 0-1 matrix [n, m] of the edges from a level to the next."""
    here = edges.level == level
    ends = edges.parent[here], edges.child[here]
    return sparse.csr_matrix((np.ones(int(here.sum())), ends), shape=(n, m))


def _jaccard(a: sparse.csr_matrix, b: sparse.csr_matrix) -> FloatArray:
    """Compute the Jaccard index of each row's columns in two 0-1 matrices; NaN where both are empty."""
    both = np.asarray(a.multiply(b).sum(axis=1)).ravel()
    either = np.asarray(a.sum(axis=1)).ravel() + np.asarray(b.sum(axis=1)).ravel() - both
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)

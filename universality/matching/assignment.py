"""Exact one-to-one assignment on any Similarity without forming its matrix, with a bound on its error.

The problem is to maximise the sum of s_ij over one-to-one pairs, complete on the smaller side. With a floor f it is to
maximise the sum of (s_ij - f) over *partial* pairings; each row then also has a private column that is worth 0.

Column generation solves it:

1. The candidates are the best partners of every row and column, and one pairing of all rows so that a solution exists.
2. On that sparse graph an assignment comes with prices u_i and v_j such that u_i + v_j >= s_ij on every edge.
3. One pass over the full matrix finds the pairs that violate this. They are added, and the graph is solved again from
   the current prices.
4. When no pair violates the prices, the assignment is the optimum of the full matrix.

At any time no pairing is better by more than sum_i max(0, max_j(s_ij - u_i - v_j)), by weak duality of linear
programming: that is the bound, to which rounding is added.

Where all rows want the same few columns (rank one, duplicates), best partners say nothing about the prices of the other
columns. Some random pairs do, and the rounds continue from there. A problem that still does not settle is solved by
SciPy's dense solver if the matrix fits; otherwise the last assignment is returned with its bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.errors import UniversalityError
from universality.matching.augmenting_paths import State, solve
from universality.matching.dense_assignment import COPIES, EPS, assign_dense
from universality.matching.sparse_problem import Problem
from universality.similarity import Similarity
from universality.similarity.engine.block_source import TopK

Solver: TypeAlias = Literal["auto", "sparse", "dense"]

CANDIDATES = 32  # best partners of each row and column; 2 to 4 rounds in practice
ROUNDS = 20
SPREAD = 16  # random partners per row where most pairs violate the first prices
PATIENCE = 12  # rounds before the dense solver takes over where it fits
DENSE_BELOW, DENSE_UP_TO = 1024, 16_384  # features: SciPy is faster up to the first, too large beyond the second
LISTED = 1 << 24  # violating pairs in the lists of all rows, 24 bytes each: the most to which full lists grow
EDGE_BYTES = 48  # per edge, while two rounds are merged
TOLERANCE = 1e-15  # of the largest score: smaller violations are rounding; they are not pursued but enter the bound


@dataclass(frozen=True, eq=False)
class Assignment:
    """One-to-one pairs and a bound on their distance from the optimum.

    Parameters
    ----------
    rows, cols, scores
        [n_pairs] in rising order of rows.
    gap
        No admissible pairing has a sum (over the floor) that is larger by more than this, rounding included.
    rounds, n_edges
        Number of times the sparse graph was solved, and its final number of edges; 0 and all pairs for the dense
        solver.
    row_price, col_price
        [n_rows], [n_cols] prices of the features at the optimum, 0 for dead ones; a start for a similar problem. None
        from the dense solver.
    """

    rows: IntArray
    cols: IntArray
    scores: FloatArray
    gap: float
    rounds: int
    n_edges: int
    row_price: FloatArray | None
    col_price: FloatArray | None


def assign(
    sim: Similarity,
    floor: float | None = None,
    forbidden: tuple[IntArray, IntArray] | None = None,
    prices: FloatArray | None = None,
    solver: Solver = "auto",
    memory_budget: int = 8 << 30,
    candidates: tuple[TopK, TopK] | None = None,
) -> Assignment:
    """Find optimal one-to-one pairs of living features, and bound their distance from the optimum.

    Parameters
    ----------
    sim
        Scores of all pairs.
    floor
        Pairs below it stay unmatched; None asks for a complete pairing of the side with fewer living features.
    forbidden
        (rows, cols) of pairs that must not be formed; time and memory grow with the largest number of forbidden pairs
        in any row.
    prices
        Initial prices of the side with more living features, [n_rows] or [n_cols], such as an earlier result's.
    solver
        "sparse", "dense" (SciPy's, on the whole matrix), or "auto": dense where that is faster or where the sparse
        solver does not settle.
    memory_budget
        Bytes for the graph, or for the dense matrix.
    candidates
        ``sim.topk(k, axis=None)``, if already computed.

    Raises
    ------
    UniversalityError
        When the budget is too small, or no complete pairing avoids the forbidden pairs.

    Examples
    --------
    Taking each row's best column would use column 0 twice:

    >>> sim = Similarity.from_dense(np.array([[0.9, 0.8], [0.7, 0.1]]))
    >>> assignment = assign(sim)
    >>> assignment.cols, assignment.gap < 1e-12
    (array([1, 0]), True)
    """
    n_rows, n_cols = int((~sim.dead_rows).sum()), int((~sim.dead_cols).sum())
    if not n_rows or not n_cols:
        none = np.zeros(0, np.int64)
        return Assignment(none, none, np.zeros(0), 0.0, 0, 0, np.zeros(sim.shape[0]), np.zeros(sim.shape[1]))
    fits = COPIES * 8 * n_rows * n_cols <= memory_budget
    if solver == "dense" and not fits:
        raise UniversalityError(
            f"a dense assignment of {n_rows} x {n_cols} features takes {COPIES * 8 * n_rows * n_cols:,} bytes, over "
            f"the budget of {memory_budget:,}; raise memory_budget, or use solver='sparse'"
        )
    if solver == "dense" or (solver == "auto" and fits and max(n_rows, n_cols) <= DENSE_BELOW):
        return _dense(sim, floor, forbidden)
    turned = n_rows > n_cols  # the sparse solver pairs every row, so rows must be the smaller side
    problem = Problem(sim.transposed() if turned else sim, floor, _forbidden(forbidden, sim.shape, turned))
    dense_later = solver == "auto" and fits and max(n_rows, n_cols) <= DENSE_UP_TO
    lists = candidates[::-1] if candidates and turned else candidates
    solution = _rounds(problem, lists, prices, PATIENCE if dense_later else ROUNDS, memory_budget)
    if dense_later and not solution.settled:
        return _dense(sim, floor, forbidden)
    return _result(problem, solution, turned)


def _dense(sim: Similarity, floor: float | None, forbidden: tuple[IntArray, IntArray] | None) -> Assignment:
    """Solve on the whole matrix, dead features removed."""
    rows, cols = np.flatnonzero(~sim.dead_rows), np.flatnonzero(~sim.dead_cols)
    scores = sim.dense(8 * sim.shape[0] * sim.shape[1])
    if forbidden is not None:
        scores[forbidden] = -np.inf
    if rows.size < scores.shape[0] or cols.size < scores.shape[1]:
        scores = scores[np.ix_(rows, cols)]
    i, j, gap = assign_dense(scores, floor)
    return Assignment(rows[i], cols[j], scores[i, j], gap, 0, scores.size, None, None)


def _forbidden(given: tuple[IntArray, IntArray] | None, shape: tuple[int, int], turned: bool) -> IntArray:
    """Return sorted keys row * n_cols + col of the forbidden pairs, in the orientation that is solved."""
    if given is None:
        return np.zeros(0, np.int64)
    rows, cols = given[::-1] if turned else given
    return np.unique(np.asarray(rows, np.int64) * shape[0 if turned else 1] + np.asarray(cols, np.int64))


@dataclass
class _Solution:
    """State, bound and size of the problem after the last round."""

    state: State
    bound: float
    rounds: int
    n_edges: int
    settled: bool


def _rounds(
    problem: Problem, candidates: tuple[TopK, TopK] | None, prices: FloatArray | None, rounds: int, memory_budget: int
) -> _Solution:
    """Solve the graph and add violating pairs until there are none left, or no more rounds or memory."""
    k = min(CANDIDATES, problem.cols.size)
    _check_budget(problem, 2 * (k + problem.spare), memory_budget)
    by_row, by_col = candidates or problem.sim.topk(k + problem.spare, axis=None)
    problem.add_lists(by_row)
    problem.add_lists(by_col, by_col=True)
    if problem.floor is None:
        problem.complete()
    start, bound = _start(problem, prices), np.inf
    full = np.ones(problem.rows.size, bool)
    most = max(k, min(problem.cols.size, min(LISTED, memory_budget // EDGE_BYTES) // problem.sim.shape[0]))
    listed = k
    for r in range(1, rounds + 1):
        n_edges, graph = problem.keys.size, problem.graph()
        state = solve(graph, problem.n_cols, start)
        # Only its own row can use a private column, so any price there can be moved into the row's price.
        state.price[problem.cols.size :] = 0.0
        largest = float(np.abs(graph.weight).max(initial=0.0))
        # Most rows gain more than any pair that is in no list could offer them: these are proven without a search.
        check = problem.unlisted(by_row, by_col, state) > problem.row_prices(state) + problem.base + TOLERANCE * largest
        if r > 1 and start is not None:
            check &= _may_violate(problem, start, state, full)
        start = state
        violating, excess = problem.violations(state, TOLERANCE * largest, listed, check)
        full = (violating[0] >= 0).sum(axis=1)[problem.rows] >= listed
        if full.any():  # a row whose list is full may have many more: lists of one length would take many rounds
            listed = min(2 * listed, most)
        # Weak duality: prices plus excess bound every pairing, and the matched edges are tight, so the prices sum to
        # `total`. The optimum is the same in every round, so the smallest bound of all rounds holds.
        total, tolerated = float(state.own.sum()), problem.rows.size * TOLERANCE * largest
        bound = min(bound, total + float(excess.sum()) + tolerated)
        settled = not problem.add_lists(violating)
        if r == 1 and (violating[0] >= 0).sum() > problem.rows.size:
            problem.add_spread(SPREAD)
        if settled or r == rounds or problem.keys.size * EDGE_BYTES > memory_budget:
            break
    # At most n_cols terms, each a sum of a score and prices of at most these sizes.
    rounding = 4 * EPS * (largest + float(np.abs(state.price).max())) * problem.n_cols
    return _Solution(state, max(0.0, bound - total) + rounding, r, n_edges, settled)


def _result(problem: Problem, solution: _Solution, turned: bool) -> Assignment:
    """Number pairs and prices as in the similarity that was given."""
    state = solution.state
    matched = np.flatnonzero(state.mate < problem.cols.size)
    rows, cols = problem.rows[matched], problem.cols[state.mate[matched]]
    row_price, col_price = np.zeros(problem.sim.shape[0]), np.zeros(problem.sim.shape[1])
    row_price[problem.rows], col_price[problem.cols] = problem.row_prices(state), state.price[: problem.cols.size]
    scores = problem.sim.pairs(rows, cols)
    if turned:
        rows, cols, row_price, col_price = cols, rows, col_price, row_price
    order = np.argsort(rows)
    size = solution.rounds, solution.n_edges
    return Assignment(rows[order], cols[order], scores[order], solution.bound, *size, row_price, col_price)


def _may_violate(problem: Problem, before: State, now: State, full: BoolArray) -> BoolArray:
    """Flag the rows [n] whose pairs must be checked again.

    All violating pairs of a row were added to the graph unless its list was ``full``. Its other pairs cannot start to
    violate the prices while neither the row's price nor any column's has fallen.
    """
    if (now.price < before.price).any():
        return np.ones(problem.rows.size, bool)
    return full | (problem.row_prices(now) < problem.row_prices(before))


def _start(problem: Problem, prices: FloatArray | None) -> State | None:
    """Turn given prices into a state without mates."""
    if prices is None:
        return None
    if prices.shape != (problem.sim.shape[1],):
        raise UniversalityError(
            f"start: expected prices of the side with more living features [{problem.sim.shape[1]}], "
            f"found shape {prices.shape}; start from a match of the same two sides"
        )
    price = np.zeros(problem.n_cols)
    price[: problem.cols.size] = np.maximum(prices[problem.cols], 0)  # v >= 0, as columns may stay unmatched
    n = problem.rows.size
    return State(price, np.full(n, -1, np.int32), np.zeros(n))


def _check_budget(problem: Problem, per_feature: int, memory_budget: int) -> None:
    needed = EDGE_BYTES * per_feature * problem.rows.size
    if needed > memory_budget:
        raise UniversalityError(
            f"an exact assignment of {problem.rows.size} x {problem.cols.size} features takes about {needed:,} bytes, "
            f"over the budget of {memory_budget:,}; raise memory_budget, or use method='mutual' or 'nearest'"
        )

"""Exact one-to-one assignment on any Similarity, without its matrix, and a certificate of how exact.

Maximise the sum of s_ij over one-to-one pairs, complete on the smaller side. With a floor f: maximise the sum of
(s_ij - f) over *partial* pairings; each row then has a column of its own that is worth 0.

Only good candidates matter: the best partners of every row and column, and one pairing of all rows so that there is a
solution. On that sparse graph an assignment comes with prices u_i + v_j >= s_ij. One pass over the full matrix finds
the pairs that break this; they are added and the graph is solved again, from the prices at hand. When none is left
the assignment is the optimum of the full matrix. At any time no pairing is better by more than
sum_i max(0, max_j(s_ij - u_i - v_j)): that is the bound (linear programming's weak duality); rounding is added.

Where all rows want the same few columns (rank one, duplicates) best partners alone tell nothing of the other columns'
prices; some pairs at random do, and the rounds go on from there. What still does not settle is handed to SciPy's dense
solver where that fits; beyond, the last assignment is returned with its bound.
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
SPREAD = 16  # partners at random for each row of a matrix whose first prices most pairs break
PATIENCE = 12  # rounds before the dense solver takes over where it fits
DENSE_BELOW, DENSE_UP_TO = 1024, 16_384  # features: SciPy is the faster up to the one, too large beyond the other
EDGE_BYTES = 48  # of an edge in memory while two rounds are merged
TOLERANCE = 1e-15  # of the largest score: a price broken by less is not pursued, but counted


@dataclass(frozen=True, eq=False)
class Assignment:
    """One-to-one pairs and how good they are.

    Parameters
    ----------
    rows, cols, scores
        [n_pairs] in rising order of rows.
    gap
        No admissible pairing has a sum (over the floor) larger by more than this, rounding included.
    rounds, n_edges
        Times that the sparse graph was solved, and its edges at the end; 0 and all pairs for the dense solver.
    row_price, col_price
        [n_rows], [n_cols] what the features cost at the optimum, 0 for dead ones; a start for a similar problem.
        None from the dense solver.
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
    """Optimal one-to-one pairs of living features and a bound on what they fall short of the optimum.

    Parameters
    ----------
    sim
        Scores.
    floor
        Pairs below it stay unmatched; None asks for a complete pairing of the side with fewer living features.
    forbidden
        (rows, cols) of pairs that must not be made; time and memory grow with the most of them that a row has.
    prices
        [n_rows] or [n_cols], whichever living side is larger: where to start from, such as an earlier result's.
    solver
        "sparse", "dense" (SciPy's, of the whole matrix), or "auto": dense where that is the faster, or where the
        sparse one does not settle.
    memory_budget
        Bytes for the graph, or for the dense matrix.
    candidates
        ``sim.topk(k, axis=None)``, where it is known already.

    Raises
    ------
    UniversalityError
        When the budget is too small, or no complete pairing avoids the forbidden pairs.
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
    turned = n_rows > n_cols
    problem = Problem(sim.transposed() if turned else sim, floor, _forbidden(forbidden, sim.shape, turned))
    dense_later = solver == "auto" and fits and max(n_rows, n_cols) <= DENSE_UP_TO
    known = candidates[::-1] if candidates and turned else candidates
    found = _rounds(problem, known, prices, PATIENCE if dense_later else ROUNDS, memory_budget)
    if dense_later and not found.settled:
        return _dense(sim, floor, forbidden)
    return _result(problem, found, turned)


def _dense(sim: Similarity, floor: float | None, forbidden: tuple[IntArray, IntArray] | None) -> Assignment:
    rows, cols = np.flatnonzero(~sim.dead_rows), np.flatnonzero(~sim.dead_cols)
    scores = sim.dense(8 * sim.shape[0] * sim.shape[1])
    if forbidden is not None:
        scores[forbidden] = -np.inf
    if rows.size < scores.shape[0] or cols.size < scores.shape[1]:
        scores = scores[np.ix_(rows, cols)]
    i, j, gap = assign_dense(scores, floor)
    return Assignment(rows[i], cols[j], scores[i, j], gap, 0, scores.size, None, None)


def _forbidden(given: tuple[IntArray, IntArray] | None, shape: tuple[int, int], turned: bool) -> IntArray:
    """Keys row * n_cols + col of the forbidden pairs, sorted, of the problem as it is solved."""
    if given is None:
        return np.zeros(0, np.int64)
    rows, cols = given[::-1] if turned else given
    return np.unique(np.asarray(rows, np.int64) * shape[0 if turned else 1] + np.asarray(cols, np.int64))


@dataclass
class _Found:
    """Where the rounds ended."""

    state: State
    bound: float
    rounds: int
    n_edges: int
    settled: bool


def _rounds(
    problem: Problem, candidates: tuple[TopK, TopK] | None, prices: FloatArray | None, rounds: int, memory_budget: int
) -> _Found:
    """Solve, price, add, until no pair breaks the prices, or rounds or memory end."""
    k = min(CANDIDATES, problem.cols.size)
    _check_budget(problem, 2 * (k + problem.spare), memory_budget)
    by_row, by_col = candidates or problem.sim.topk(k + problem.spare, axis=None)
    problem.add_lists(by_row)
    problem.add_lists(by_col, by_col=True)
    if problem.floor is None:
        problem.complete()
    start, bound = _start(problem, prices), np.inf
    check = full = np.ones(problem.rows.size, bool)
    for r in range(1, rounds + 1):
        n_edges, graph = problem.keys.size, problem.graph()
        state = solve(graph, problem.n_cols, start)
        state.price[problem.cols.size :] = 0.0  # nobody else bids for a row's own column
        if r > 1 and start is not None:
            check = _may_be_broken(problem, start, state, check & full)
        start = state
        largest = float(np.abs(graph.weight).max(initial=0.0))
        found, excess = problem.broken(state, TOLERANCE * largest, k, check)
        full = (found[0] >= 0).sum(axis=1)[problem.rows] >= k
        total, tolerated = float(state.own.sum()), problem.rows.size * TOLERANCE * largest
        bound = min(bound, total + float(excess.sum()) + tolerated)  # of all rounds: the optimum is not above it
        settled = not problem.add_lists(found)
        if r == 1 and (found[0] >= 0).sum() > problem.rows.size:
            problem.add_spread(SPREAD)
        if settled or r == rounds or problem.keys.size * EDGE_BYTES > memory_budget:
            break
    rounding = 4 * EPS * (largest + float(np.abs(state.price).max())) * problem.n_cols
    return _Found(state, max(0.0, bound - total) + rounding, r, n_edges, settled)


def _result(problem: Problem, found: _Found, turned: bool) -> Assignment:
    """Pairs and prices, numbered as in the similarity that was given."""
    state = found.state
    matched = np.flatnonzero(state.mate < problem.cols.size)
    rows, cols = problem.rows[matched], problem.cols[state.mate[matched]]
    row_price, col_price = np.zeros(problem.sim.shape[0]), np.zeros(problem.sim.shape[1])
    row_price[problem.rows], col_price[problem.cols] = problem.row_prices(state), state.price[: problem.cols.size]
    scores = problem.sim.pairs(rows, cols)
    if turned:
        rows, cols, row_price, col_price = cols, rows, col_price, row_price
    order = np.argsort(rows)
    return Assignment(
        rows[order], cols[order], scores[order], found.bound, found.rounds, found.n_edges, row_price, col_price
    )


def _may_be_broken(problem: Problem, before: State, now: State, full: BoolArray) -> BoolArray:
    """[n] rows whose pairs must be looked at again.

    All broken pairs of a row are in the graph by now, unless its list was ``full``; its other pairs stay unbroken while
    neither its price nor a column's has fallen.
    """
    if (now.price < before.price).any():
        return np.ones(problem.rows.size, bool)
    return full | (problem.row_prices(now) < problem.row_prices(before))


def _start(problem: Problem, prices: FloatArray | None) -> State | None:
    if prices is None:
        return None
    if prices.shape != (problem.sim.shape[1],):
        raise UniversalityError(
            f"start: expected prices of the side with more living features [{problem.sim.shape[1]}], "
            f"found shape {prices.shape}; start from a match of the same two sides"
        )
    price = np.zeros(problem.n_cols)
    price[: problem.cols.size] = np.maximum(prices[problem.cols], 0)
    n = problem.rows.size
    return State(price, np.full(n, -1, np.int32), np.zeros(n))


def _check_budget(problem: Problem, per_feature: int, memory_budget: int) -> None:
    needed = EDGE_BYTES * per_feature * problem.rows.size
    if needed > memory_budget:
        raise UniversalityError(
            f"an exact assignment of {problem.rows.size} x {problem.cols.size} features takes about {needed:,} bytes, "
            f"over the budget of {memory_budget:,}; raise memory_budget, or use method='mutual' or 'nearest'"
        )

"""Exact one-to-one assignment on any Similarity, without its matrix, and a certificate of how exact.

Maximise the sum of s_ij over one-to-one pairs, complete on the smaller side. With a floor f: maximise the sum of
(s_ij - f) over *partial* pairings; each row then has a column of its own that is worth 0.

Only good candidates matter: the best partners of every row and column, and one pairing of all rows so that there is a
solution. On that sparse graph an assignment comes with prices u_i + v_j >= s_ij. One pass over the full matrix finds
the pairs that break this; they are added and the graph is solved again, from the prices at hand. When none is left
the assignment is the optimum of the full matrix. At any time no pairing is better by more than
sum_i max(0, max_j(s_ij - u_i - v_j)): that is the bound (linear programming's weak duality); rounding is added.

A matrix whose structure defeats this (rank one: nearly every pair is a candidate) is handed to SciPy's dense solver
where that fits; beyond, the last assignment is returned with its bound.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import maximum_bipartite_matching

from universality.errors import UniversalityError
from universality.matching.dense import COPIES, EPS, NO_PAIRING, assign_dense
from universality.matching.paths import Graph, State, solve
from universality.similarity import Similarity
from universality.similarity.rows import BoolArray, FloatArray, IntArray
from universality.similarity.topk import TopK

Solver: TypeAlias = Literal["auto", "sparse", "dense"]

CANDIDATES = 32  # best partners of each row and column; 2 to 4 rounds in practice
ROUNDS = 20
PATIENCE = 6  # rounds before the dense solver takes over where it fits
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
    problem = _Problem(sim.transposed() if turned else sim, floor, _forbidden(forbidden, sim.shape, turned))
    dense_later = solver == "auto" and fits and max(n_rows, n_cols) <= DENSE_UP_TO
    known = candidates[::-1] if candidates and turned else candidates
    found = _rounds(problem, known, prices, PATIENCE if dense_later else ROUNDS, memory_budget)
    if dense_later and not found.settled:
        return _dense(sim, floor, forbidden)
    return problem.result(found, turned)


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


@dataclass
class _Problem:
    """Living rows (at most as many as columns) and columns, numbered anew; weights are scores over the floor."""

    sim: Similarity
    floor: float | None
    forbidden: IntArray
    rows: IntArray = field(init=False)
    cols: IntArray = field(init=False)
    keys: IntArray = field(init=False, default_factory=lambda: np.zeros(0, np.int64))  # row * n_cols + col, sorted
    weights: FloatArray = field(init=False, default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        self.rows = np.flatnonzero(~self.sim.dead_rows)
        self.cols = np.flatnonzero(~self.sim.dead_cols)
        self.base = 0.0 if self.floor is None else self.floor
        counts = np.bincount(self.forbidden // max(1, self.sim.shape[1])) if self.forbidden.size else [0]
        self.spare = int(np.max(counts))  # partners to ask for beyond the wanted ones

    @property
    def n_cols(self) -> int:
        """Columns of the graph: with a floor each row has one of its own."""
        return self.cols.size + (0 if self.floor is None else self.rows.size)

    def allowed(self, rows: IntArray, cols: IntArray) -> BoolArray:
        """[n] whether pairs (numbered as in the similarity) may be made."""
        if not self.forbidden.size:
            return np.ones(rows.shape, bool)
        keys = rows * self.sim.shape[1] + cols
        at = np.minimum(np.searchsorted(self.forbidden, keys), self.forbidden.size - 1)
        return np.asarray(self.forbidden[at] != keys)

    def add(self, rows: IntArray, cols: IntArray, scores: FloatArray) -> int:
        """Take pairs (numbered as in the similarity) into the graph; returns how many are new."""
        kept = self.allowed(rows, cols)
        if self.floor is not None:
            kept &= scores >= self.floor
        rows, cols = np.searchsorted(self.rows, rows[kept]), np.searchsorted(self.cols, cols[kept])
        keys = np.concatenate([self.keys, rows * self.cols.size + cols])
        before = self.keys.size
        self.keys, first = np.unique(keys, return_index=True)
        self.weights = np.concatenate([self.weights, scores[kept] - self.base])[first]
        return self.keys.size - before

    def add_lists(self, found: TopK, by_col: bool = False) -> int:
        """Take lists of partners (index, score) into the graph; returns how many pairs are new."""
        index, score = found
        own, rank = np.nonzero(index >= 0)
        i, j = (index[own, rank], own) if by_col else (own, index[own, rank])
        return self.add(i, j, score[own, rank])

    def complete(self) -> None:
        """Add pairs so that all rows can be matched at once: whom the candidates leave over, in their order."""
        n, m = self.rows.size, self.cols.size
        ones = np.ones(self.keys.size, np.int8)
        graph = sparse.csr_matrix((ones, (self.keys // m, self.keys % m)), shape=(n, m))
        mate = maximum_bipartite_matching(graph, perm_type="column").astype(np.int64)
        left = np.flatnonzero(mate < 0)
        if self.forbidden.size:
            i, j = self._avoiding(mate, left)
        else:
            i, j = left, np.setdiff1d(np.arange(m), mate[mate >= 0])[: left.size]
        rows, cols = self.rows[i], self.cols[j]
        self.add(rows, cols, self.sim.pairs(rows, cols))

    def _avoiding(self, mate: IntArray, left: IntArray) -> tuple[IntArray, IntArray]:
        """Allowed pairs that match the rows left: of each the shortest chain of exchanges to a free column."""
        held = np.full(self.cols.size, -1, np.int64)
        held[mate[mate >= 0]] = np.flatnonzero(mate >= 0)
        pairs: list[tuple[int, int]] = []
        for source in left.tolist():
            reached_from, queue = np.full(self.cols.size, -1, np.int64), [source]
            free = np.zeros(0, np.int64)
            for i in queue:  # grows while it is walked
                fits = self.allowed(np.full(self.cols.size, self.rows[i]), self.cols)
                new = np.flatnonzero(fits & (reached_from < 0))
                reached_from[new] = i
                free = new[held[new] < 0]
                if free.size:
                    break
                queue.extend(held[new].tolist())
            if not free.size:
                raise UniversalityError(NO_PAIRING)
            j = int(free[0])
            while j >= 0:
                i = int(reached_from[j])
                pairs.append((i, j))
                held[j], mate[i], j = i, j, int(mate[i])
        found = np.array(pairs, np.int64).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def graph(self) -> Graph:
        """Candidates, and with a floor each row's own column, which is worth 0."""
        n, m = self.rows.size, self.cols.size
        rows, cols = np.divmod(self.keys, m)
        weights = self.weights
        indptr = np.searchsorted(rows, np.arange(n + 1))
        if self.floor is not None:
            cols, weights = np.insert(cols, indptr[1:], m + np.arange(n)), np.insert(weights, indptr[1:], 0.0)
            indptr = indptr + np.arange(n + 1)
        return Graph(indptr.astype(np.int64), cols.astype(np.int32), weights)

    def row_prices(self, state: State) -> FloatArray:
        """[n] of living rows."""
        return np.asarray(state.own - state.price[state.mate])

    def broken(self, state: State, tolerance: float, k: int, check: BoolArray) -> tuple[TopK, FloatArray]:
        """Pairs of the full matrix that are worth more than their prices, and by how much each row's best is.

        Of the rows ``check`` [n] alone; at most k (and the spare) a row.
        """
        u = self.row_prices(state) + self.base
        price, threshold = np.zeros(self.sim.shape[1]), np.full(self.sim.shape[0], np.inf)
        price[self.cols] = state.price[: self.cols.size]
        threshold[self.rows] = np.where(check, u + tolerance, np.inf)
        found = self.sim.best(k + self.spare, price, threshold)
        own = np.broadcast_to(np.arange(self.sim.shape[0])[:, None], found.partner.shape)
        found.partner[~self.allowed(own, found.partner)] = -1
        best = np.where(found.partner >= 0, found.key, -np.inf).max(axis=1)[self.rows]
        return (found.partner, found.score), np.maximum(best - u, 0)

    def result(self, found: _Found, turned: bool) -> Assignment:
        """Pairs and prices, numbered as in the similarity that was given."""
        state = found.state
        matched = np.flatnonzero(state.mate < self.cols.size)
        rows, cols = self.rows[matched], self.cols[state.mate[matched]]
        row_price, col_price = np.zeros(self.sim.shape[0]), np.zeros(self.sim.shape[1])
        row_price[self.rows], col_price[self.cols] = self.row_prices(state), state.price[: self.cols.size]
        scores = self.sim.pairs(rows, cols)
        if turned:
            rows, cols, row_price, col_price = cols, rows, col_price, row_price
        order = np.argsort(rows)
        return Assignment(
            rows[order], cols[order], scores[order], found.bound, found.rounds, found.n_edges, row_price, col_price
        )


def _rounds(
    problem: _Problem, candidates: tuple[TopK, TopK] | None, prices: FloatArray | None, rounds: int, memory_budget: int
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
        if settled or r == rounds or problem.keys.size * EDGE_BYTES > memory_budget:
            break
    rounding = 4 * EPS * (largest + float(np.abs(state.price).max())) * problem.n_cols
    return _Found(state, max(0.0, bound - total) + rounding, r, n_edges, settled)


def _may_be_broken(problem: _Problem, before: State, now: State, full: BoolArray) -> BoolArray:
    """[n] rows whose pairs must be looked at again.

    All broken pairs of a row are in the graph by now, unless its list was ``full``; its other pairs stay unbroken while
    neither its price nor a column's has fallen.
    """
    if (now.price < before.price).any():
        return np.ones(problem.rows.size, bool)
    return full | (problem.row_prices(now) < problem.row_prices(before))


def _start(problem: _Problem, prices: FloatArray | None) -> State | None:
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


def _check_budget(problem: _Problem, per_feature: int, memory_budget: int) -> None:
    needed = EDGE_BYTES * per_feature * problem.rows.size
    if needed > memory_budget:
        raise UniversalityError(
            f"an exact assignment of {problem.rows.size} x {problem.cols.size} features takes about {needed:,} bytes, "
            f"over the budget of {memory_budget:,}; raise memory_budget, or use method='mutual' or 'nearest'"
        )

"""Sparse problem in place of a whole matrix of scores: candidates, a pairing of all rows, and pricing."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import maximum_bipartite_matching

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.errors import UniversalityError
from universality.matching.augmenting_paths import Graph, State
from universality.matching.dense_assignment import NO_PAIRING
from universality.similarity import Similarity
from universality.similarity.engine.block_source import TopK


@dataclass
class Problem:
    """Sparse graph of living rows and columns (at most as many rows), renumbered; weights are scores over the floor.

    Parameters
    ----------
    sim
        Scores of all pairs.
    floor
        Pairs below it stay out of the graph; None for no floor.
    forbidden
        Sorted keys row * n_cols + col, numbered as in ``sim``.
    """

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
        # So many partners more are requested of each row, as all forbidden ones may be among its best.
        self.spare = int(np.max(counts))

    @property
    def n_cols(self) -> int:
        """Columns of the graph; with a floor each row has a private one."""
        return self.cols.size + (0 if self.floor is None else self.rows.size)

    def allowed(self, rows: IntArray, cols: IntArray) -> BoolArray:
        """Flag the pairs [n] (numbered as in the similarity) that are not forbidden."""
        if not self.forbidden.size:
            return np.ones(rows.shape, bool)
        keys = rows * self.sim.shape[1] + cols
        nearest = np.minimum(np.searchsorted(self.forbidden, keys), self.forbidden.size - 1)
        return np.asarray(self.forbidden[nearest] != keys)

    def add(self, rows: IntArray, cols: IntArray, scores: FloatArray) -> int:
        """Add pairs (numbered as in the similarity) to the graph and return the number of new ones."""
        usable = self.allowed(rows, cols)
        if self.floor is not None:
            usable &= scores >= self.floor
        rows, cols = np.searchsorted(self.rows, rows[usable]), np.searchsorted(self.cols, cols[usable])
        keys = np.concatenate([self.keys, rows * self.cols.size + cols])
        before = self.keys.size
        self.keys, first = np.unique(keys, return_index=True)
        self.weights = np.concatenate([self.weights, scores[usable] - self.base])[first]
        return self.keys.size - before

    def add_lists(self, partners: TopK, by_col: bool = False) -> int:
        """Add lists of partners (index, score) to the graph and return the number of new pairs."""
        index, score = partners
        feature, rank = np.nonzero(index >= 0)
        i, j = (index[feature, rank], feature) if by_col else (feature, index[feature, rank])
        return self.add(i, j, score[feature, rank])

    def add_spread(self, n: int) -> None:
        """Add n random pairs of each row, so that columns which no row prefers get prices, too."""
        chosen = np.random.default_rng(0).integers(0, self.cols.size, (self.rows.size, n))
        rows, cols = np.repeat(self.rows, n), self.cols[chosen.ravel()]
        self.add(rows, cols, self.sim.pairs(rows, cols))

    def complete(self) -> None:
        """Add pairs so that all rows can be matched at once.

        Rows that the largest pairing of candidates leaves over get its free columns, in order.
        """
        n, m = self.rows.size, self.cols.size
        ones = np.ones(self.keys.size, np.int8)
        graph = sparse.csr_matrix((ones, (self.keys // m, self.keys % m)), shape=(n, m))
        mate = maximum_bipartite_matching(graph, perm_type="column").astype(np.int64)
        unmatched = np.flatnonzero(mate < 0)
        if self.forbidden.size:
            i, j = self._avoiding(mate, unmatched)
        else:
            i, j = unmatched, np.setdiff1d(np.arange(m), mate[mate >= 0])[: unmatched.size]
        rows, cols = self.rows[i], self.cols[j]
        self.add(rows, cols, self.sim.pairs(rows, cols))

    def _avoiding(self, mate: IntArray, unmatched: IntArray) -> tuple[IntArray, IntArray]:
        """Find allowed pairs that match these rows, each by the shortest chain of exchanges to a free column."""
        held = np.full(self.cols.size, -1, np.int64)
        held[mate[mate >= 0]] = np.flatnonzero(mate >= 0)
        pairs: list[tuple[int, int]] = []
        for source in unmatched.tolist():
            reached_from, queue = np.full(self.cols.size, -1, np.int64), [source]
            free = np.zeros(0, np.int64)
            for i in queue:  # breadth-first: the queue grows while it is walked
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
        ends = np.array(pairs, np.int64).reshape(-1, 2)
        return ends[:, 0], ends[:, 1]

    def graph(self) -> Graph:
        """Return the candidates as a graph and, with a floor, each row's private column, which is worth 0."""
        n, m = self.rows.size, self.cols.size
        rows, cols = np.divmod(self.keys, m)
        weights = self.weights
        indptr = np.searchsorted(rows, np.arange(n + 1))
        if self.floor is not None:
            cols, weights = np.insert(cols, indptr[1:], m + np.arange(n)), np.insert(weights, indptr[1:], 0.0)
            indptr = indptr + np.arange(n + 1)
        return Graph(indptr.astype(np.int64), cols.astype(np.int32), weights)

    def row_prices(self, state: State) -> FloatArray:
        """Return what each living row gains from its mate at these prices: [n]."""
        return np.asarray(state.own - state.price[state.mate])

    def violations(self, state: State, tolerance: float, k: int, check: BoolArray) -> tuple[TopK, FloatArray]:
        """Find pairs of the full matrix that are worth more than their prices, and each row's largest excess.

        Only rows in ``check`` [n] are searched, and at most k (and the spare) pairs of a row returned.
        """
        u = self.row_prices(state) + self.base
        price, threshold = np.zeros(self.sim.shape[1]), np.full(self.sim.shape[0], np.inf)
        price[self.cols] = state.price[: self.cols.size]
        threshold[self.rows] = np.where(check, u + tolerance, np.inf)
        best = self.sim.best(k + self.spare, price, threshold)
        rows = np.broadcast_to(np.arange(self.sim.shape[0])[:, None], best.partner.shape)
        best.partner[~self.allowed(rows, best.partner)] = -1
        worth = np.where(best.partner >= 0, best.key, -np.inf).max(axis=1)[self.rows]
        return (best.partner, best.score), np.maximum(worth - u, 0)

    def unlisted(self, by_row: TopK, by_col: TopK, state: State) -> FloatArray:
        """Bound, for each living row, the score less the price of the columns that neither list holds: [n].

        A pair (i, j) in no list scores at most r_i, the last score in the list of row i, and at most c_j, the last one
        in that of column j; -inf where a list is not full, since it then holds all living partners. So the bound is the
        larger of r_i minus the least price of a column with c_j >= r_i, and the largest c_j - v_j of the others.
        """
        r, c = _last_score(by_row, self.rows), _last_score(by_col, self.cols)
        price = state.price[: self.cols.size]
        order = np.argsort(c)
        least_price = np.append(np.minimum.accumulate(price[order][::-1])[::-1], np.inf)  # of the columns from there on
        most = np.append(-np.inf, np.maximum.accumulate((c - price)[order]))  # of the columns before
        place = np.searchsorted(c[order], r)
        return np.maximum(r - least_price[place], most[place])


def _last_score(lists: TopK, features: IntArray) -> FloatArray:
    """[n] the last score of each feature's list; -inf where the list is not full."""
    index, score = lists
    return np.where(index[features, -1] >= 0, score[features, -1], -np.inf)

"""Assignment on a sparse graph by shortest augmenting paths, with the prices that prove it optimal.

Jonker & Volgenant 1987, *A shortest augmenting path algorithm for dense and sparse linear assignment problems*. First,
rows bid for columns as long as that makes progress. Then each remaining row finds the cheapest chain of exchanges to a
free column (Dijkstra on the slacks u_i + v_j - w_ij >= 0). A row's price u_i is w_ij - v_j for its mate j, so matched
edges are tight by definition. Column prices only rise, so earlier ones are a start for a graph with more edges.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray, IntArray
from universality.compiled import njit

BIDS = 20  # per row before paths take over: rows that are still free compete for the same columns
SLACK = 16 * float(np.finfo(np.float64).eps)  # of the largest weight: tolerance for a matched edge to be tight


class Graph(NamedTuple):
    """Edges of row i: columns ``cols[indptr[i]:indptr[i + 1]]`` with ``weight``; every row can be matched."""

    indptr: IntArray
    cols: npt.NDArray[np.int32]
    weight: FloatArray


class State(NamedTuple):
    """Prices [n_cols], each row's column ``mate`` [n_rows] (-1: none), and that edge's weight ``own`` [n_rows]."""

    price: FloatArray
    mate: npt.NDArray[np.int32]
    own: FloatArray


def solve(graph: Graph, n_cols: int, start: State | None = None) -> State:
    """Maximise the sum of weights over pairings of all rows, with prices such that u_i + v_j >= w_ij on every edge.

    Parameters
    ----------
    graph
        At most as many rows as columns; a pairing of all rows must exist.
    n_cols
        Number of columns.
    start
        Result for a graph with a subset of these edges, or initial prices without mates.

    Returns
    -------
    State
        A new state. Unmatched columns have price 0, unless every column has a row.

    Examples
    --------
    >>> graph = Graph(np.array([0, 2, 3]), np.array([0, 1, 0], np.int32), np.array([0.9, 0.8, 0.7]))
    >>> state = solve(graph, n_cols=2)
    >>> state.mate.tolist(), state.own.tolist()
    ([1, 0], [0.8, 0.7])
    """
    n_rows = graph.indptr.size - 1
    if start is None:
        start = State(np.zeros(n_cols), np.full(n_rows, -1, np.int32), np.zeros(n_rows))
    state = State(start.price.copy(), start.mate.copy(), start.own.copy())
    tolerance = SLACK * float(np.abs(graph.weight).max(initial=0.0))
    held = np.full(n_cols, -1, np.int32)
    _release(*graph, *state, held, tolerance, False)
    _bid(*graph, *state, held, BIDS * n_rows)
    if n_rows < n_cols:
        # Columns that stay free must cost 0, or the prices would not bound the sum. Setting one to 0 may make it
        # attractive, so rows that now prefer another column are released and bid again.
        _release(*graph, *state, held, tolerance, True)
        _bid(*graph, *state, held, BIDS * n_rows)
    stuck = _augment(*graph, *state, held)
    assert stuck < 0, f"row {stuck} cannot be matched: the graph must hold a pairing of all rows"
    return state


@njit(cache=True, nogil=True, error_model="numpy")
def _release(indptr, cols, weight, price, mate, own, held, tolerance, some_stay_free):  # type: ignore[no-untyped-def]
    """Release rows whose mate is no longer best at these prices; optionally set free columns' prices to 0."""
    changed = True
    while changed:
        changed = False
        held[:] = -1
        for i in range(mate.size):
            if mate[i] < 0:
                continue
            best = -np.inf
            for e in range(indptr[i], indptr[i + 1]):
                best = max(best, weight[e] - price[cols[e]])
            if own[i] - price[mate[i]] < best - tolerance:
                mate[i] = -1
            else:
                held[mate[i]] = i
        if some_stay_free:  # lowering a price may release further rows, hence the outer loop
            for j in range(held.size):
                if held[j] < 0 and price[j] != 0:
                    price[j] = 0.0
                    changed = True


@njit(cache=True, nogil=True, error_model="numpy")
def _bid(indptr, cols, weight, price, mate, own, held, n_bids):  # type: ignore[no-untyped-def]
    """Let free rows take their best column, at the price that makes it as good as their second best.

    The column's former holder becomes free. Bids end when no row is free, or after ``n_bids``.
    """
    queue = np.empty(mate.size, np.int32)
    n = 0
    for i in range(mate.size):
        if mate[i] < 0:
            queue[n] = i
            n += 1
    while n > 0 and n_bids > 0:
        n_bids -= 1
        n -= 1
        i = queue[n]
        best, second, at = -np.inf, -np.inf, -1
        for e in range(indptr[i], indptr[i + 1]):
            v = weight[e] - price[cols[e]]
            if v > best:
                best, second, at = v, best, e
            elif v > second:
                second = v
                if v == best and held[cols[at]] >= 0 and held[cols[e]] < 0:
                    at = e  # of equally good columns a free one, which displaces nobody
        j = cols[at]
        loser = held[j]
        if loser >= 0 and not -np.inf < second < best:
            continue  # its price would not rise (a tie) or not be bounded: rows would swap it forever; paths decide
        if second > -np.inf:
            price[j] += best - second  # the largest rise at which this column is still a best one of row i
        held[j], mate[i], own[i] = i, j, weight[at]
        if loser >= 0:
            mate[loser] = -1
            queue[n] = loser
            n += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _augment(indptr, cols, weight, price, mate, own, held):  # type: ignore[no-untyped-def]  # noqa: PLR0912
    """Match every free row along a shortest path; return a row that has none, or -1."""
    m = price.size
    dist = np.full(m, np.inf)
    before = np.empty(m, np.int32)  # row from which a column was reached, and that edge
    edge = np.empty(m, np.int64)
    heap = np.empty(m, np.int32)
    place = np.full(m, -1, np.int32)  # position in the heap; -1 not reached, -2 final
    reached = np.empty(m, np.int32)
    for source in range(mate.size):
        if mate[source] >= 0:
            continue
        size, n_reached, bound, last = 0, 0, np.inf, -1
        i, base, u = source, 0.0, -np.inf
        for e in range(indptr[i], indptr[i + 1]):
            u = max(u, weight[e] - price[cols[e]])
        while True:
            for e in range(indptr[i], indptr[i + 1]):
                j = cols[e]
                d = base + max(0.0, u - (weight[e] - price[j]))  # slack >= 0 but for rounding
                if d >= bound or d >= dist[j] or place[j] == -2:
                    continue  # a free column was reached at `bound`: longer paths cannot be shortest
                if held[j] < 0:
                    bound = d
                if place[j] == -1:
                    reached[n_reached] = j
                    n_reached += 1
                    place[j] = size
                    heap[size] = j
                    size += 1
                dist[j], before[j], edge[j] = d, i, e
                _up(heap, place, dist, place[j])
            if size == 0:
                return source
            j = _pop(heap, place, dist, size)
            size -= 1
            if held[j] < 0:
                last = j
                break
            i, base = held[j], dist[j]
            u = own[i] - price[j]
        total = dist[last]
        # Final columns rise by total - dist. Afterwards all edges of the path are tight, and no slack is negative.
        for r in range(n_reached):
            j = reached[r]
            if place[j] == -2 and dist[j] < total:
                price[j] += total - dist[j]
            dist[j], place[j] = np.inf, -1
        j = last
        while True:  # exchange mates back along the path
            i = before[j]
            following = mate[i]
            held[j], mate[i], own[i] = i, j, weight[edge[j]]
            if i == source:
                break
            j = following
    return -1


@njit(cache=True, nogil=True, error_model="numpy")
def _up(heap, place, dist, q):  # type: ignore[no-untyped-def]
    """Move the column at heap position q up to its place."""
    j = heap[q]
    while q > 0:
        parent = (q - 1) >> 1
        if dist[heap[parent]] <= dist[j]:
            break
        heap[q] = heap[parent]
        place[heap[q]] = q
        q = parent
    heap[q] = j
    place[j] = q


@njit(cache=True, nogil=True, error_model="numpy")
def _pop(heap, place, dist, size):  # type: ignore[no-untyped-def]
    """Remove and return the nearest column, and mark it as final."""
    top, j = heap[0], heap[size - 1]
    q = 0
    while True:
        child = 2 * q + 1
        if child >= size - 1:
            break
        if child + 1 < size - 1 and dist[heap[child + 1]] < dist[heap[child]]:
            child += 1
        if dist[heap[child]] >= dist[j]:
            break
        heap[q] = heap[child]
        place[heap[q]] = q
        q = child
    if size > 1:
        heap[q] = j
        place[j] = q
    place[top] = -2
    return top

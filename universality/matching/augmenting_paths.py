"""Assignment on a sparse graph by shortest augmenting paths, with the prices that prove it.

Jonker & Volgenant 1987, *A shortest augmenting path algorithm for dense and sparse linear assignment problems*: rows
bid for columns as long as bids settle matters, then each row left finds the cheapest chain of exchanges to a free
column (Dijkstra on slacks u_i + v_j - w_ij >= 0). A row's price u_i is what its own column leaves it, w_ij - v_j, so
matched edges are tight by definition. Prices only rise, so earlier ones are a start for a graph with more edges.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray, IntArray
from universality.compiled import njit

BIDS = 20  # per row before paths take over: what is left then is contested
SLACK = 16 * float(np.finfo(np.float64).eps)  # of the largest weight: how far a matched edge may be from tight


class Graph(NamedTuple):
    """Edges of row i: columns ``cols[indptr[i]:indptr[i + 1]]`` with ``weight``; every row can be matched."""

    indptr: IntArray
    cols: npt.NDArray[np.int32]
    weight: FloatArray


class State(NamedTuple):
    """``price`` [n_cols], ``mate`` [n_rows] the column of each row (-1: none), ``own`` [n_rows] that edge's weight."""

    price: FloatArray
    mate: npt.NDArray[np.int32]
    own: FloatArray


def solve(graph: Graph, n_cols: int, start: State | None = None) -> State:
    """The largest sum of weights over pairings of all rows, with prices v: u_i + v_j >= w_ij on every edge.

    Parameters
    ----------
    graph
        At most as many rows as columns, and with a pairing of all rows.
    n_cols
        Columns.
    start
        Result for a graph with some of these edges; or prices to begin with and no mates.

    Returns
    -------
    A new state. Columns that no row has cost 0, unless every column has a row.
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
        _release(*graph, *state, held, tolerance, True)
        _bid(*graph, *state, held, BIDS * n_rows)
    stuck = _augment(*graph, *state, held)
    assert stuck < 0, f"row {stuck} cannot be matched: the graph must hold a pairing of all rows"
    return state


@njit(cache=True, nogil=True, error_model="numpy")
def _release(indptr, cols, weight, price, mate, own, held, tolerance, some_stay_free):  # type: ignore[no-untyped-def]
    """Keep mates that are still best at these prices; where columns stay free, free ones must cost 0."""
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
        if some_stay_free:
            for j in range(held.size):
                if held[j] < 0 and price[j] != 0:
                    price[j] = 0.0
                    changed = True


@njit(cache=True, nogil=True, error_model="numpy")
def _bid(indptr, cols, weight, price, mate, own, held, n_bids):  # type: ignore[no-untyped-def]
    """Free rows take their best column, at the price that makes it as good as their second; holders are free again."""
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
                    at = e
        j = cols[at]
        loser = held[j]
        if loser >= 0 and not -np.inf < second < best:
            continue  # to take it would settle nothing
        if second > -np.inf:
            price[j] += best - second
        held[j], mate[i], own[i] = i, j, weight[at]
        if loser >= 0:
            mate[loser] = -1
            queue[n] = loser
            n += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _augment(indptr, cols, weight, price, mate, own, held):  # type: ignore[no-untyped-def]  # noqa: PLR0912
    """Match every free row along a shortest path; returns a row that has none, or -1."""
    m = price.size
    dist = np.full(m, np.inf)
    before = np.empty(m, np.int32)  # row from which a column was reached, and that edge
    edge = np.empty(m, np.int64)
    heap = np.empty(m, np.int32)
    place = np.full(m, -1, np.int32)  # in the heap; -1 not reached, -2 done
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
                d = base + max(0.0, u - (weight[e] - price[j]))
                if d >= bound or d >= dist[j] or place[j] == -2:
                    continue
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
        for r in range(n_reached):
            j = reached[r]
            if place[j] == -2 and dist[j] < total:
                price[j] += total - dist[j]
            dist[j], place[j] = np.inf, -1
        j = last
        while True:
            i = before[j]
            following = mate[i]
            held[j], mate[i], own[i] = i, j, weight[edge[j]]
            if i == source:
                break
            j = following
    return -1


@njit(cache=True, nogil=True, error_model="numpy")
def _up(heap, place, dist, q):  # type: ignore[no-untyped-def]
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

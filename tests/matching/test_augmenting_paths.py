"""The sparse solver against SciPy, its prices against what they must prove."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linear_sum_assignment

from universality.matching.augmenting_paths import Graph, State, solve


def graph_of(scores: np.ndarray, edges: np.ndarray) -> Graph:
    rows, cols = np.nonzero(edges)
    indptr = np.searchsorted(rows, np.arange(len(scores) + 1)).astype(np.int64)
    return Graph(indptr, cols.astype(np.int32), scores[rows, cols])


def check(state: State, scores: np.ndarray, edges: np.ndarray) -> None:
    """The sum is SciPy's, every edge is covered by its prices, matched ones exactly, and free columns cost nothing."""
    rows, cols = linear_sum_assignment(np.where(edges, scores, -1e3), maximize=True)
    assert_allclose(state.own.sum(), scores[rows, cols].sum(), atol=1e-10)
    row_price = state.own - state.price[state.mate]
    slack = row_price[:, None] + state.price - scores
    assert slack[edges].min() > -1e-12
    assert_allclose(slack[np.arange(len(scores)), state.mate], 0, atol=1e-12)
    assert_array_equal(state.price[np.setdiff1d(np.arange(scores.shape[1]), state.mate)], 0)


def world(ties: bool, shape: tuple[int, int] = (60, 80)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    scores = rng.uniform(-1, 1, shape)
    edges = (rng.random(shape) < 0.1) | np.eye(*shape, dtype=bool)  # the diagonal: a pairing of all rows
    return scores.round(1) if ties else scores, edges


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("shape", [(60, 80), (60, 60)])
def test_the_best_pairing_of_a_sparse_graph_is_found_with_its_prices(ties: bool, shape: tuple[int, int]) -> None:
    scores, edges = world(ties, shape)
    state = solve(graph_of(scores, edges), shape[1])
    assert np.unique(state.mate).size == 60
    if shape[0] < shape[1]:
        check(state, scores, edges)
    else:
        rows, cols = linear_sum_assignment(np.where(edges, scores, -1e3), maximize=True)
        assert_allclose(state.own.sum(), scores[rows, cols].sum(), atol=1e-10)


def test_an_earlier_result_is_a_start_for_more_edges() -> None:
    scores, edges = world(ties=False)
    first = solve(graph_of(scores, edges), 80)
    before = State(*(part.copy() for part in first))
    more = edges | (np.random.default_rng(1).random(edges.shape) < 0.1)
    check(solve(graph_of(scores, more), 80, first), scores, more)
    for part, copy in zip(first, before, strict=True):
        assert_array_equal(part, copy)  # the start itself stays as it was


def test_a_graph_without_a_pairing_of_all_rows_is_our_error() -> None:
    edges = np.array([[True, False], [True, False]])
    with pytest.raises(AssertionError, match="cannot be matched: the graph must hold a pairing of all rows"):
        solve(graph_of(np.ones((2, 2)), edges), 2)

"""Candidates, completion and pricing of the sparse problem, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from universality.matching.augmenting_paths import State, solve
from universality.matching.sparse_problem import Problem
from universality.similarity import Similarity

NONE = np.zeros(0, np.int64)
SCORES = np.array([[0.9, 0.8, 0.1], [0.0, 0.0, 0.0], [0.7, 0.2, 0.3]])
DEAD = np.array([False, True, False])


def problem(floor: float | None = None, forbidden: np.ndarray = NONE) -> Problem:
    return Problem(Similarity.from_dense(SCORES, dead_rows=DEAD), floor, forbidden)


def pairs(p: Problem) -> list[tuple[int, int]]:
    """Pairs in the graph, numbered as in the similarity."""
    rows, cols = np.divmod(p.keys, p.cols.size)
    return list(zip(p.rows[rows].tolist(), p.cols[cols].tolist(), strict=True))


def test_pairs_are_added_once_and_only_where_allowed() -> None:
    p = problem(floor=0.5, forbidden=np.array([0 * 3 + 1]))
    lists = np.array([[0, 1], [-1, -1], [0, 1]]), np.array([[0.9, 0.8], [np.nan, np.nan], [0.7, 0.2]])
    assert p.add_lists(lists) == 2  # (0, 1) is forbidden, (2, 1) is below the floor
    assert p.add_lists(lists) == 0
    assert pairs(p) == [(0, 0), (2, 0)]
    assert_allclose(p.weights, [0.4, 0.2])
    assert p.spare == 1
    graph = p.graph()  # with a private column of each row, worth 0
    assert_array_equal(graph.cols, [0, 3, 0, 4])
    assert_allclose(graph.weight, [0.4, 0, 0.2, 0])
    assert p.n_cols == 5


def test_completion_lets_all_rows_be_matched_at_once() -> None:
    p = problem()
    p.add(np.array([0, 2]), np.array([0, 0]), np.array([0.9, 0.7]))
    p.complete()
    assert len(pairs(p)) == 3
    assert np.unique(solve(p.graph(), p.n_cols).mate).size == 2
    only = problem(forbidden=np.array([0 * 3 + 1, 0 * 3 + 2, 2 * 3 + 1]))  # row 0 must have column 0, row 2 column 2
    only.add(np.array([2]), np.array([0]), np.array([0.7]))
    only.complete()
    assert set(pairs(only)) == {(0, 0), (2, 0), (2, 2)}


def test_pairs_worth_more_than_their_prices_are_found_in_the_full_matrix() -> None:
    p = problem()
    p.add(np.array([0, 2]), np.array([0, 2]), np.array([0.9, 0.3]))
    state = State(np.zeros(3), np.array([0, 2], np.int32), np.array([0.9, 0.3]))
    assert_allclose(p.row_prices(state), [0.9, 0.3])
    (partner, score), excess = p.violations(state, 1e-12, 2, np.ones(2, bool))
    assert_array_equal(partner[2][partner[2] >= 0], [0])  # 0.7 > 0.3 + 0
    assert_allclose(score[2][partner[2] >= 0], [0.7])
    assert not (partner[0] >= 0).any()
    assert_allclose(excess, [0, 0.4])
    _, unchecked = p.violations(state, 1e-12, 2, np.array([True, False]))
    assert_allclose(unchecked, [0, 0])


@pytest.mark.parametrize("k", [1, 3, 13])
def test_the_bound_of_pairs_in_no_list_is_reached_by_none_and_nearly_by_some(k: int) -> None:
    rng = np.random.default_rng(k)
    scores = rng.random((20, 12))
    sim = Similarity.from_dense(scores)
    lists = sim.topk(k, axis=None)
    p = Problem(sim, None, np.zeros(0, np.int64))
    state = State(rng.random(12) / 10, np.zeros(20, np.int32), np.zeros(20))
    bound = p.unlisted(*lists, state)
    worth = scores - state.price
    np.put_along_axis(worth, lists[0][0], -np.inf, axis=1)
    np.put_along_axis(worth, lists[1][0].T, -np.inf, axis=0)
    assert (bound >= worth.max(axis=1)).all()
    assert (bound > -np.inf).all() == (k < 13)
    if k < 13:
        assert (bound - worth.max(axis=1)).min() < 0.05  # as tight as lists allow: no trivial bound would be
        assert (bound < scores.max() - state.price.min()).all()

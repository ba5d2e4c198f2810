"""The assignment against all permutations and SciPy; the certificate against what was really lost."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linear_sum_assignment

from universality.errors import UniversalityError
from universality.matching.assignment import assign, check_budget, gap


def best_complete(scores: np.ndarray) -> float:
    """The largest sum over pairings complete on the smaller side, by trying all."""
    if scores.shape[0] > scores.shape[1]:
        scores = scores.T
    rows = range(scores.shape[0])
    return max(
        sum(scores[r, c] for r, c in zip(rows, p, strict=True)) for p in permutations(range(scores.shape[1]), len(rows))
    )


def best_partial(scores: np.ndarray, floor: float) -> float:
    """The largest sum of (score - floor) over all one-to-one pairings, the empty one included."""
    n = min(scores.shape)
    found = [0.0]
    for size in range(1, n + 1):
        for rows in combinations(range(scores.shape[0]), size):
            pairings = permutations(range(scores.shape[1]), size)
            found.extend(float((scores[rows, cols] - floor).sum()) for cols in pairings)
    return max(found)


def scores_of(seed: int, n_rows: int, n_cols: int, ties: bool) -> np.ndarray:
    scores = np.random.default_rng(seed).uniform(-1, 1, (n_rows, n_cols))
    return scores.round(1) if ties else scores


small = {
    "seed": st.integers(0, 10_000),
    "n_rows": st.integers(1, 5),
    "n_cols": st.integers(1, 5),
    "ties": st.booleans(),
}


@given(**small)
@settings(max_examples=60, deadline=None)
def test_complete_assignment_is_the_best_of_all(seed: int, n_rows: int, n_cols: int, ties: bool) -> None:
    scores = scores_of(seed, n_rows, n_cols, ties)
    rows, cols, bound = assign(scores)
    assert rows.size == min(n_rows, n_cols) == np.unique(cols).size
    assert_allclose(scores[rows, cols].sum(), best_complete(scores), atol=1e-12)
    assert 0 <= bound < 1e-12


@given(floor=st.sampled_from([-0.5, 0.0, 0.2, 0.7, 2.0]), **small)
@settings(max_examples=60, deadline=None)
def test_a_floor_maximises_the_sum_over_it(floor: float, seed: int, n_rows: int, n_cols: int, ties: bool) -> None:
    scores = scores_of(seed, n_rows, n_cols, ties)
    rows, cols, bound = assign(scores, floor)
    assert np.unique(rows).size == rows.size == np.unique(cols).size
    assert (scores[rows, cols] >= floor).all()
    assert_allclose((scores[rows, cols] - floor).sum(), best_partial(scores, floor), atol=1e-12)
    assert bound < 1e-12


def test_a_floor_can_change_partners_not_only_drop_pairs() -> None:
    scores = np.array([[0.9, 0.8], [0.8, 0.0]])
    assert_array_equal(assign(scores)[1], [1, 0])
    rows, cols, _ = assign(scores, 0.75)
    assert_array_equal(np.transpose([rows, cols]), [[0, 0]])


@pytest.mark.parametrize("shape", [(300, 300), (200, 320), (320, 200)])
@pytest.mark.parametrize("rank", [1, 3, None])
def test_equals_scipy_with_a_tight_certificate(shape: tuple[int, int], rank: int | None) -> None:
    """Rank one is the matrix of hubs on which sparse solvers fail."""
    rng = np.random.default_rng(0)
    scores = rng.standard_normal(shape)
    if rank:
        scores = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    rows, cols, bound = assign(scores)
    expected = scores[linear_sum_assignment(scores, maximize=True)].sum()
    assert_allclose(scores[rows, cols].sum(), expected, atol=1e-9)
    assert bound < 1e-10
    again = assign(scores)
    assert_array_equal(again[1], cols)


@given(**{**small, "n_rows": st.integers(2, 5), "n_cols": st.integers(2, 5)})
@settings(max_examples=60, deadline=None)
def test_a_pairing_that_is_not_optimal_keeps_its_gap_open(seed: int, n_rows: int, n_cols: int, ties: bool) -> None:
    """The control: any other pairing must be charged with at least what it loses."""
    scores = scores_of(seed, n_rows, n_cols, ties)
    n = min(n_rows, n_cols)
    rng = np.random.default_rng(seed)
    rows, cols = rng.permutation(n_rows)[:n], rng.permutation(n_cols)[:n]
    lost = best_complete(scores) - scores[rows, cols].sum()
    assert gap(scores, rows, cols) >= lost - 1e-15


def test_one_swap_among_hundreds_is_noticed() -> None:
    scores = np.random.default_rng(0).uniform(0, 1, (300, 300))
    rows, cols, tight = assign(scores)
    cols[[5, 9]] = cols[[9, 5]]
    lost = scores[assign(scores)[:2]].sum() - scores[rows, cols].sum()
    assert lost > 0.01
    assert gap(scores, rows, cols) >= lost > 1e6 * tight


def test_a_partial_pairing_has_no_certificate() -> None:
    with pytest.raises(UniversalityError, match="complete on the smaller side, 3 pairs; found 1"):
        gap(np.ones((3, 4)), np.array([0]), np.array([1]))


def test_nothing_to_assign() -> None:
    rows, cols, bound = assign(np.zeros((0, 4)))
    assert rows.size == cols.size == bound == 0


def test_over_the_budget_is_refused() -> None:
    check_budget(100, 100, 240_000)
    with pytest.raises(UniversalityError, match="of 100 x 101 features takes 242,400 bytes, over the budget of 240"):
        check_budget(100, 101, 240_000)

"""The assignment against all permutations and SciPy; the certificate against what was really lost."""

from __future__ import annotations

import numpy as np
import pytest
from every_pairing import best_complete, best_partial, scores_of, small
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linear_sum_assignment

from universality.errors import UniversalityError
from universality.matching import assignment
from universality.matching.assignment import Assignment, Solver, assign
from universality.similarity import Similarity


def solved(scores: np.ndarray, floor: float | None = None, solver: Solver = "sparse", **options: object) -> Assignment:
    return assign(Similarity.from_dense(scores), floor, solver=solver, **options)  # type: ignore[arg-type]


both_solvers = pytest.mark.parametrize("solver", ["sparse", "dense"])


@both_solvers
@given(**small)
@settings(max_examples=60, deadline=None)
def test_complete_assignment_is_the_best_of_all(
    solver: Solver, seed: int, n_rows: int, n_cols: int, ties: bool
) -> None:
    scores = scores_of(seed, n_rows, n_cols, ties)
    found = solved(scores, solver=solver)
    assert found.rows.size == min(n_rows, n_cols) == np.unique(found.cols).size
    assert_allclose(scores[found.rows, found.cols].sum(), best_complete(scores), atol=1e-12)
    assert 0 <= found.gap < 1e-12


@both_solvers
@given(floor=st.sampled_from([-0.5, 0.0, 0.2, 0.7, 2.0]), **small)
@settings(max_examples=60, deadline=None)
def test_a_floor_maximises_the_sum_over_it(
    solver: Solver, floor: float, seed: int, n_rows: int, n_cols: int, ties: bool
) -> None:
    scores = scores_of(seed, n_rows, n_cols, ties)
    found = solved(scores, floor, solver)
    assert np.unique(found.rows).size == found.rows.size == np.unique(found.cols).size
    assert (scores[found.rows, found.cols] >= floor).all()
    assert_allclose((scores[found.rows, found.cols] - floor).sum(), best_partial(scores, floor), atol=1e-12)
    assert found.gap < 1e-12


@both_solvers
def test_a_floor_can_change_partners_not_only_drop_pairs(solver: Solver) -> None:
    scores = np.array([[0.9, 0.8], [0.8, 0.0]])
    assert_array_equal(solved(scores, solver=solver).cols, [1, 0])
    found = solved(scores, 0.75, solver)
    assert_array_equal(np.transpose([found.rows, found.cols]), [[0, 0]])


def world(name: str, shape: tuple[int, int]) -> np.ndarray:
    """Matrices on which assignment solvers fail."""
    rng = np.random.default_rng(0)
    n, m = shape
    return {
        "random": lambda: rng.standard_normal(shape),
        "rank three": lambda: rng.standard_normal((n, 3)) @ rng.standard_normal((3, m)),
        "rank one": lambda: np.outer(rng.standard_normal(n), rng.standard_normal(m)),
        "all equal": lambda: np.full(shape, 0.3),
        "duplicates": lambda: rng.standard_normal((5, 7))[rng.integers(0, 5, n)][:, rng.integers(0, 7, m)],
        "hubs": lambda: rng.standard_normal(shape) + 5 * (np.arange(m) < 4),
        "partly shared": lambda: rng.uniform(0, 0.3, shape) + np.eye(n, m) * (np.arange(n) < n // 2)[:, None],
    }[name]()


WORLDS = ["random", "rank three", "rank one", "all equal", "duplicates", "hubs", "partly shared"]


@pytest.mark.parametrize("shape", [(300, 300), (200, 320), (320, 200)])
@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("floor", [None, 0.25])
def test_equals_scipy_with_a_tight_certificate(
    name: str, shape: tuple[int, int], floor: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With few candidates, so that pricing has work to do; "auto" goes on with the dense solver where it must."""
    monkeypatch.setattr(assignment, "DENSE_BELOW", 0)
    monkeypatch.setattr(assignment, "CANDIDATES", 4)
    scores = world(name, shape)
    weights = scores if floor is None else np.maximum(scores - floor, 0)
    expected = weights[linear_sum_assignment(weights, maximize=True)].sum()
    found = solved(scores, floor, "auto")
    total = (found.scores - (floor or 0)).sum()
    assert_allclose(found.scores, scores[found.rows, found.cols], atol=1e-12)
    assert_allclose(total, expected, atol=1e-9)
    assert found.gap < 1e-9
    assert_array_equal(solved(scores, floor, "auto").cols, found.cols)
    honest = solved(scores, floor, "sparse")
    lost = expected - (honest.scores - (floor or 0)).sum()
    assert -1e-9 < lost <= honest.gap + 1e-12


@pytest.mark.parametrize("rounds", [1, 2])
def test_stopped_early_the_bound_covers_what_is_lost(rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "ROUNDS", rounds)
    monkeypatch.setattr(assignment, "CANDIDATES", 2)
    scores = world("rank one", (200, 200))
    found = solved(scores)
    lost = scores[linear_sum_assignment(scores, maximize=True)].sum() - found.scores.sum()
    assert 0.1 < lost <= found.gap < np.inf
    assert found.rounds == rounds
    assert np.unique(found.cols).size == 200


def test_lists_that_grow_take_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "CANDIDATES", 4)
    scores = world("rank one", (200, 200))
    growing = solved(scores)
    monkeypatch.setattr(assignment, "LISTED", 0)  # lists of one length
    fixed = solved(scores)
    assert growing.rounds < fixed.rounds
    assert_allclose(growing.scores.sum(), fixed.scores.sum(), atol=1e-9)
    assert max(growing.gap, fixed.gap) < 1e-9


def test_prices_prove_the_result() -> None:
    scores = world("partly shared", (200, 230))
    found = solved(scores)
    assert found.row_price is not None
    assert found.col_price is not None
    assert (found.row_price[:, None] + found.col_price - scores).min() > -1e-12
    assert_allclose(found.row_price.sum() + found.col_price.sum(), found.scores.sum(), atol=1e-10)
    free = np.setdiff1d(np.arange(230), found.cols)
    assert_array_equal(found.col_price[free], 0)


@pytest.mark.parametrize("shape", [(200, 200), (200, 260), (260, 200)])
@pytest.mark.parametrize("floor", [None, 0.1])
def test_a_start_changes_nothing_but_the_way(shape: tuple[int, int], floor: float | None) -> None:
    scores = world("partly shared", shape)
    first = solved(scores, floor)
    changed = scores + np.random.default_rng(1).uniform(0, 0.01, shape)
    prices = first.row_price if shape[0] > shape[1] else first.col_price
    again, anew = solved(changed, floor, prices=prices), solved(changed, floor)
    assert_array_equal(again.cols, anew.cols)
    assert again.gap < 1e-10
    with pytest.raises(UniversalityError, match=r"start: expected prices of the side with more living features"):
        solved(scores, prices=np.zeros(7))


@both_solvers
@pytest.mark.parametrize("floor", [None, 0.2])
def test_forbidden_pairs_are_not_made(solver: Solver, floor: float | None) -> None:
    scores = world("partly shared", (60, 70))
    forbidden = (np.arange(60), np.arange(60))
    found = solved(scores, floor, solver, forbidden=forbidden)
    assert (found.rows != found.cols).all()
    weights = scores if floor is None else np.maximum(scores - floor, 0)
    weights[forbidden] = -1e3 if floor is None else 0
    expected = weights[linear_sum_assignment(weights, maximize=True)].sum()
    assert_allclose((found.scores - (floor or 0)).sum(), expected, atol=1e-10)
    assert found.gap < 1e-10
    turned = solved(world("partly shared", (60, 70)).T, floor, solver, forbidden=forbidden[::-1])
    assert_allclose(turned.scores.sum(), found.scores.sum())


@both_solvers
def test_a_pairing_is_found_around_forbidden_pairs_or_refused(solver: Solver) -> None:
    """The last row may only have column 0, the one before only 0 or 1, and so on: one pairing is left."""
    scores = np.ones((40, 40))
    allowed = np.tri(40, dtype=bool)[::-1]
    found = solved(scores, solver=solver, forbidden=np.nonzero(~allowed))
    assert_array_equal(found.cols, np.arange(40)[::-1])
    allowed[38, 1] = False
    with pytest.raises(UniversalityError, match="no complete pairing avoids the forbidden pairs; forbid"):
        solved(scores, solver=solver, forbidden=np.nonzero(~allowed))
    assert solved(scores, 0.5, solver, forbidden=np.nonzero(~allowed)).rows.size == 39


@both_solvers
def test_nothing_to_assign(solver: Solver) -> None:
    found = solved(np.zeros((0, 4)), solver=solver)
    assert found.rows.size == found.cols.size == found.gap == 0


def test_over_the_budget_is_refused() -> None:
    scores = np.ones((100, 101))
    assert solved(scores, solver="dense", memory_budget=242_400).rows.size == 100
    with pytest.raises(UniversalityError, match="of 100 x 101 features takes 242,400 bytes, over the budget of 242"):
        solved(scores, solver="dense", memory_budget=242_399)
    with pytest.raises(UniversalityError, match=r"of 100 x 101 features takes about 307,200 bytes, over .* 100,000"):
        solved(scores, memory_budget=100_000)
    assert solved(scores, solver="auto", memory_budget=310_000).rows.size == 100

"""SciPy's solver on whole matrices; the certificate against what was really lost."""

from __future__ import annotations

import numpy as np
import pytest
from every_pairing import best_complete, scores_of, small
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from universality.errors import UniversalityError
from universality.matching.dense_assignment import assign_dense, gap


@pytest.mark.parametrize("turned", [False, True])
def test_a_planted_pairing_is_found_and_certified(turned: bool) -> None:
    scores = np.random.default_rng(0).uniform(0, 0.4, (30, 40))
    planted = np.random.default_rng(1).permutation(40)[:30]
    scores[np.arange(30), planted] += 0.5
    rows, cols, bound = assign_dense(scores.T if turned else scores)
    pairs = np.transpose([cols, rows] if turned else [rows, cols])
    assert_array_equal(pairs[np.argsort(pairs[:, 0])], np.transpose([np.arange(30), planted]))
    assert 0 <= bound < 1e-12
    rows, _, _ = assign_dense(scores, floor=2.0)
    assert rows.size == 0


def test_forbidden_pairs_are_avoided_or_refused() -> None:
    scores = np.array([[1.0, -np.inf], [0.9, -np.inf]])
    with pytest.raises(UniversalityError, match="no complete pairing avoids the forbidden pairs"):
        assign_dense(scores)
    scores[1, 1] = 0.1
    rows, cols, bound = assign_dense(scores)
    assert_array_equal(cols, [0, 1])
    assert_allclose(scores[rows, cols].sum(), 1.1)
    assert bound < 1e-12


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
    rows, best, bound = assign_dense(scores)
    cols = best.copy()
    cols[[5, 9]] = cols[[9, 5]]
    lost = scores[rows, best].sum() - scores[rows, cols].sum()
    assert lost > 0.01
    assert gap(scores, rows, cols) >= lost > 1e6 * bound


def test_a_partial_pairing_has_no_certificate() -> None:
    with pytest.raises(UniversalityError, match="complete on the smaller side, 3 pairs; found 1"):
        gap(np.ones((3, 4)), np.array([0]), np.array([1]))

"""Sums of given pairs are those of dense columns, in every group; r of a resample is r of the repeated tokens."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sparse_sides import sides

from universality.errors import UniversalityError
from universality.similarity.engine.group_sums import group_moments, pair_sums

ROWS, COLS = np.array([6, 0, 0, 3]), np.array([1, 4, 1, 0])
NAMES = ("g0", "g1", "g2")


def test_sums_of_pairs_by_group(tmp_path: Path) -> None:
    a, b, x, y = sides(tmp_path)
    group = np.arange(len(x)) % 3
    masked = pair_sums(a, b, ROWS, COLS, group, 3, masked=True, shifted=False)
    for g in range(3):
        u, v = x[group == g][:, ROWS], y[group == g][:, COLS]
        both = (u != 0) & (v != 0)
        assert_allclose(masked[:, g], [(u * v).sum(0), (u**2 * both).sum(0), (v**2 * both).sum(0), both.sum(0)])
    assert_allclose(pair_sums(a, b, ROWS, COLS, shifted=False)[0, 0], (x[:, ROWS] * y[:, COLS]).sum(0))


def test_r_of_a_resample_is_r_of_the_repeated_tokens(tmp_path: Path) -> None:
    a, b, x, y = sides(tmp_path)
    group = np.arange(len(x)) % 3
    moments = group_moments(a, b, ROWS, COLS, group, NAMES, 1 << 20)
    assert_array_equal(moments.n, np.bincount(group))
    repeated = np.concatenate([np.flatnonzero(group == g).repeat(w) for g, w in enumerate((2, 0, 1))])
    for tokens, r in (
        (np.arange(len(x)), moments.pearson()),
        (repeated, moments.pearson([[2, 0, 1]])[0]),
        (np.flatnonzero(group != 1), moments.without_each()[1]),
    ):
        expected = [np.corrcoef(x[tokens, i], y[tokens, j])[0, 1] for i, j in zip(ROWS, COLS, strict=True)]
        assert_allclose(r, expected, atol=1e-12)


def test_r_is_nan_where_a_feature_does_not_vary(tmp_path: Path) -> None:
    a, b, x, _ = sides(tmp_path)
    moments = group_moments(a, b, np.array([2]), np.array([0]), np.zeros(len(x), np.int64), ("g",), 1 << 20)
    assert np.isnan(moments.pearson()).all()
    assert np.isnan(moments.without_each()).all()


def test_more_pairs_than_the_budget_holds_are_refused(tmp_path: Path) -> None:
    a, b, x, _ = sides(tmp_path)
    with pytest.raises(UniversalityError, match="3 groups x 4 pairs take 480 bytes, over the budget of 300; ask for"):
        group_moments(a, b, ROWS, COLS, np.zeros(len(x), np.int64), NAMES, 300)

"""Pooled p-values, by hand."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from universality.statistics.strata import null_quantile, pooled_p, stratify


def test_strata_are_of_equal_size_and_leave_rare_features_out() -> None:
    count = np.concatenate([np.arange(5), np.arange(100, 420)])
    strata = stratify(count, min_firings=10, n_strata=4)
    assert strata.n == 4
    assert_array_equal(strata.code[:5], -1)
    assert_array_equal(np.bincount(strata.code[5:]), [80, 80, 80, 80])
    assert (np.diff(strata.code[5:]) >= 0).all()


def test_few_features_make_one_stratum_and_equal_counts_too() -> None:
    assert stratify(np.arange(20, 60), 10, 8).n == 1
    strata = stratify(np.full(500, 7), 5, 8)
    assert strata.n == 1
    assert_array_equal(strata.code, 0)


def test_too_rare_all_of_them() -> None:
    strata = stratify(np.arange(5), 10, 8)
    assert strata.n == 0
    assert_array_equal(pooled_p(np.ones(5), np.arange(5), np.ones((3, 5)), strata), np.nan)


def test_p_counts_the_null_of_the_own_stratum() -> None:
    strata = stratify(np.repeat([20, 2000], 64), 10, 2)
    null = np.zeros((1, 128))
    null[:, :64] = np.arange(64) / 64
    null[:, 64:] = 5
    null[0, 0] = np.nan  # dead in this replicate: not counted
    null[0, 1] = -np.inf  # unmatched: counted, and beaten
    observed = np.array([0.5, 2.0, -1.0, 5.0, 6.0, -np.inf, np.nan])
    p = pooled_p(observed, np.array([3, 4, 5, 70, 71, 72, 73]), null, strata)
    assert_allclose(p, [33 / 64, 1 / 64, 63 / 64, 65 / 65, 1 / 65, 1, np.nan])
    assert_allclose(null_quantile(null, strata, 0.95), [60 / 64, 5], atol=1 / 64)


def test_without_replicates_there_is_no_p_and_no_quantile() -> None:
    strata = stratify(np.arange(20, 60), 10, 2)
    assert_array_equal(pooled_p(np.ones(40), np.arange(40), np.zeros((0, 40)), strata), np.nan)
    assert_array_equal(null_quantile(np.zeros((0, 40)), strata, 0.95), [np.nan])

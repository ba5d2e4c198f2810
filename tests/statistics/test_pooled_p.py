"""Pooled p-values, by hand."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from universality.statistics.null_classes import stratify
from universality.statistics.pooled_p import beyond_chance, null_quantile, pooled_p


def test_too_rare_all_of_them() -> None:
    strata = stratify(np.arange(5), 10, 8)
    assert strata.n == 0
    assert_array_equal(pooled_p(np.ones(5), np.ones((3, 5)), strata.code, np.arange(5)), np.nan)


def test_p_counts_the_null_of_the_own_stratum() -> None:
    strata = stratify(np.repeat([20, 2000], 64), 10, 2)
    null = np.zeros((1, 128))
    null[:, :64] = np.arange(64) / 64
    null[:, 64:] = 5
    null[0, 0] = np.nan  # dead in this replicate: not counted
    null[0, 1] = -np.inf  # unmatched: counted, and beaten
    observed = np.array([0.5, 2.0, -1.0, 5.0, 6.0, -np.inf, np.nan])
    features = np.array([3, 4, 5, 70, 71, 72, 73])
    p = pooled_p(observed, null, strata.code, features)
    assert_allclose(p, [33 / 64, 1 / 64, 63 / 64, 65 / 65, 1 / 65, 1, np.nan])
    assert_allclose(null_quantile(null, strata.code, features, 0.95), [60 / 64] * 3 + [5] * 4, atol=1 / 64)


def test_what_must_be_exceeded_is_the_least_that_gives_the_p() -> None:
    code = np.zeros(99, np.int64)
    null = np.random.default_rng(0).permutation(99)[None].astype(float)
    for level, bound in ((0.05, 94), (0.01, 98), (0.5, 49)):
        found = beyond_chance(null, code, np.array([7]), level)
        assert_array_equal(found, [bound])
        above, at = pooled_p(np.array([bound + 0.5, bound]), null, code, np.array([7, 8]))
        assert above <= level + 1e-12 < at
    assert_array_equal(beyond_chance(null, code, np.array([7]), 0.005), [np.inf])
    assert_array_equal(beyond_chance(null, code, np.array([7]), 1.0), [-np.inf])
    assert_array_equal(beyond_chance(null[:0], code, np.array([7]), 0.05), [np.nan])


def test_without_replicates_there_is_no_p_and_no_quantile() -> None:
    strata = stratify(np.arange(20, 60), 10, 2)
    assert_array_equal(pooled_p(np.ones(40), np.zeros((0, 40)), strata.code, np.arange(40)), np.nan)
    assert_array_equal(null_quantile(np.zeros((0, 40)), strata.code, np.arange(40), 0.95), np.nan)

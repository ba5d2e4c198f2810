"""Pooled p-values, by hand."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from universality.statistics.null_classes import refine, stratify
from universality.statistics.pooled_p import beyond_chance, null_quantile, pooled_p


def test_strata_are_of_equal_size_and_leave_rare_features_out() -> None:
    count = np.concatenate([np.arange(5), np.arange(100, 420)])
    strata = stratify(count, min_firings=10, n_strata=4)
    assert strata.n == 4
    assert_array_equal(strata.code[:5], -1)
    assert_array_equal(np.bincount(strata.code[5:]), [80, 80, 80, 80])
    assert (np.diff(strata.code[5:]) >= 0).all()


def test_strata_that_are_cut_again_by_kind_are_fewer_where_features_are() -> None:
    """A grid of classes of 32 or more: as many by kind as by firings, up to four by kind."""
    rng = np.random.default_rng(0)
    for n, strata_wanted, classes in ((40, 1, 1), (150, 2, 4), (600, 4, 16), (2048, 8, 32)):
        strata = stratify(np.arange(100, 100 + n), 10, 8, by_kind=True)
        assert strata.n == strata_wanted
        counts = np.bincount(refine(strata, rng.random(n)))
        assert counts.size == classes
        assert counts.min() >= 32
    assert stratify(np.arange(100, 250), 10, 8).n == 4


def test_few_features_make_one_stratum_and_equal_counts_too() -> None:
    assert stratify(np.arange(20, 60), 10, 8).n == 1
    strata = stratify(np.full(500, 7), 5, 8)
    assert strata.n == 1
    assert_array_equal(strata.code, 0)


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


def test_a_stratum_is_cut_by_a_value_of_its_features() -> None:
    strata = stratify(np.concatenate([[3], np.repeat([20, 2000], 128)]), 10, 2)
    value = np.concatenate([[0.5], np.tile([0.1, 0.2, 0.3, 0.4], 32), np.zeros(128)])
    code = refine(strata, value)
    assert code[0] == -1
    assert_array_equal(code[1:129], np.tile([0, 1, 2, 3], 32))
    assert len(np.unique(code[129:])) == 1  # one value cannot be cut
    assert code[129] not in code[1:129]


def test_without_replicates_there_is_no_p_and_no_quantile() -> None:
    strata = stratify(np.arange(20, 60), 10, 2)
    assert_array_equal(pooled_p(np.ones(40), np.zeros((0, 40)), strata.code, np.arange(40)), np.nan)
    assert_array_equal(null_quantile(np.zeros((0, 40)), strata.code, np.arange(40), 0.95), np.nan)

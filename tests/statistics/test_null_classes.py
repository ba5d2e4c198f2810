"""Classes of firing counts, cut again by eta squared between kinds: signed, and of the given tokens only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from planted import Array, dense, text, write_store

from universality.features import FeatureStore
from universality.features.specificity import specificity
from universality.statistics.null_classes import between_kinds, refine, stratify

SEEN = text(24, blocks=1, kinds=("en", "he", "code"))
KIND = np.asarray(SEEN.documents.kind)[SEEN.document]
CHOOSE = np.flatnonzero(np.asarray(SEEN.documents.split)[SEEN.document] == "choose")


def by_hand(x: Array, kind: Array) -> Array:
    """Variance of the kinds' means over the variance, by their definitions."""
    means = np.zeros_like(x)
    for k in np.unique(kind):
        means[kind == k] = x[kind == k].mean(axis=0)
    return np.divide(means.var(axis=0), x.var(axis=0), out=np.zeros(x.shape[1]), where=x.var(axis=0) > 0)


def store_of(tmp_path: Path) -> FeatureStore:
    """A sparse feature, a signed neuron, one of kind alone, a constant, a silent one, and one that the halves part."""
    rng = np.random.default_rng(0)
    x = np.zeros((SEEN.n_tokens, 6))
    x[:, 0] = (rng.random(SEEN.n_tokens) < np.where(KIND == "he", 0.6, 0.1)) * rng.gamma(4, 0.25, SEEN.n_tokens)
    x[:, 1] = rng.normal(np.where(KIND == "he", 0.5, -0.25), 1.0)
    x[:, 2] = np.where(KIND == "he", 2.0, -1.0)
    x[:, 3] = 3.0
    x[:, 5] = KIND == "code"
    x[CHOOSE, 5] = rng.random(CHOOSE.size) < 0.3
    return write_store(tmp_path / "a.h5", x, SEEN)


def test_is_the_share_of_variance_between_kinds(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    x, everything = dense(store), np.arange(SEEN.n_tokens)
    assert_allclose(between_kinds(store, everything), by_hand(x, KIND), atol=1e-6)
    assert_allclose(between_kinds(store, everything)[2], 1)
    assert_array_equal(between_kinds(store, everything)[3:5], 0)


def test_the_other_half_decides_nothing(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    found = between_kinds(store, CHOOSE)
    assert_allclose(found, by_hand(dense(store)[CHOOSE], KIND[CHOOSE]), atol=1e-6)
    assert found[5] < 0.05  # the control: over the whole store kind seems to decide
    assert between_kinds(store, np.arange(SEEN.n_tokens))[5] > 0.2


def test_magnitudes_would_give_another_number(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    known, n = specificity(store), SEEN.n_tokens
    magnitude = (known.mass**2 / known.kind_tokens).sum(axis=1) - known.mass.sum(axis=1) ** 2 / n
    wrong = magnitude[1] / (dense(store)[:, 1].var() * n)
    assert abs(wrong - by_hand(dense(store), KIND)[1]) > 0.05


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


def test_a_stratum_is_cut_by_a_value_of_its_features() -> None:
    strata = stratify(np.concatenate([[3], np.repeat([20, 2000], 128)]), 10, 2)
    value = np.concatenate([[0.5], np.tile([0.1, 0.2, 0.3, 0.4], 32), np.zeros(128)])
    code = refine(strata, value)
    assert code[0] == -1
    assert_array_equal(code[1:129], np.tile([0, 1, 2, 3], 32))
    assert len(np.unique(code[129:])) == 1  # one value cannot be cut
    assert code[129] not in code[1:129]

"""Eta squared between kinds: signed, and of the given tokens only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from planted import Array, dense, text, write_store

from universality.features import FeatureStore
from universality.features.specificity import specificity
from universality.statistics.null_classes import between_kinds

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

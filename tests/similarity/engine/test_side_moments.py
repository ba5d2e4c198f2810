"""Moments of a side are those of its dense rows, and what hovers near its mean is shifted."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import write_store
from sparse_sides import SEEN, stores

from universality.similarity.engine.side_moments import MAX_CHUNK, MIN_CHUNK, chunk_size, measure_side
from universality.similarity.engine.store_rows import StoreRows


@pytest.mark.parametrize("in_memory", [True, False])
def test_moments_are_of_exactly_the_chosen_rows(tmp_path: Path, in_memory: bool) -> None:
    store, _ = stores(tmp_path)
    rows = np.array([5, 3, 40, 41, 7])
    x = store.csr().toarray().astype(np.float64)[rows]
    side = measure_side(StoreRows.open(store, in_memory), rows)
    assert_array_equal(side.count, (x != 0).sum(0))
    assert side.n_entries == np.count_nonzero(x)
    assert_allclose(side.mean, x.mean(0))
    assert_allclose(side.variance, x.var(0), atol=1e-12)
    assert_allclose(side.sum_sq, (x**2).sum(0))
    assert_array_equal(side.low, x.min(0))
    assert_array_equal(side.constant, np.ptp(x, axis=0) == 0)
    assert not side.shift.any()


def test_a_neuron_with_an_offset_is_shifted_exactly_and_keeps_its_digits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([1000 + 1e-3 * rng.standard_normal(SEEN.n_tokens), np.full(SEEN.n_tokens, 0.3)])
    x = x.astype(np.float32).astype(np.float64)
    side = measure_side(StoreRows.open(write_store(tmp_path / "a.h5", x, SEEN), True), np.arange(SEEN.n_tokens))
    assert_allclose(side.shift[0], 1000, atol=0.1)
    assert_allclose(side.variance[0], x[:, 0].var(), rtol=1e-9)
    assert side.variance[1] == 0
    shifted = side.take(0, SEEN.n_tokens, shifted=True)
    assert_array_equal(shifted.data[shifted.indices == 0], x[:, 0] - side.shift[0])  # no rounding


def test_chunks_are_short_enough_for_a_cache() -> None:
    assert chunk_size(32) == 16384
    assert chunk_size(0) == MAX_CHUNK
    assert chunk_size(1e9) == MIN_CHUNK

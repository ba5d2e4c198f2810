"""Moments are those of the dense matrix, to the last bit whatever the batches; a moved value changes placed totals."""

import numpy as np
import pytest
from feature_rows import activations
from numpy.testing import assert_allclose, assert_array_equal

from universality.features.storage.moments import Moments, MomentSums, add_placed

MATRIX = activations(200)


def moments(batch: int) -> Moments:
    sums = MomentSums(12)
    for start in range(0, MATRIX.nnz, batch):
        part = slice(start, start + batch)
        sums.update(MATRIX.indices[part], MATRIX.data[part])
    return sums.compute(200)


def test_they_are_the_sums_of_the_dense_matrix() -> None:
    dense, found = MATRIX.toarray().astype(np.float64), moments(MATRIX.nnz)
    assert_array_equal(found.count, (dense != 0).sum(0))
    assert_allclose(found.sum, dense.sum(0), rtol=1e-12)
    assert_allclose(found.sum_sq, (dense**2).sum(0), rtol=1e-12)
    largest = [column[column != 0].max() if column.any() else 0 for column in dense.T]
    assert_array_equal(found.max, largest)
    assert_allclose(found.density, (dense != 0).mean(0))


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_batches_do_not_matter(batch: int) -> None:
    whole, parts = moments(MATRIX.nnz), moments(batch)
    for name in ("count", "sum", "sum_sq", "max"):
        assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_density_without_tokens_is_zero() -> None:
    zeros = np.zeros(2)
    assert not Moments(0, zeros.astype(int), zeros, zeros, zeros.astype(np.float32)).density.any()


def test_a_value_in_another_row_changes_the_placed_total() -> None:
    features, values = np.zeros(1, np.int32), np.ones(1, np.float32)
    totals = []
    for row in range(50):
        total = np.zeros(1)
        add_placed(features, np.array([row], np.int64), values, total)
        totals.append(float(total[0]))
    assert len(set(totals)) == 50
    assert 1 <= min(totals) <= max(totals) < 2

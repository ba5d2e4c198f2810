"""Sources that exist already: blocks are copies, products are clipped, and sides change places."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from universality.errors import UniversalityError
from universality.similarity.engine.factors import FactorSource, dense_source, factor_source

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((6, 3)), RNG.standard_normal((4, 3))


def test_a_dense_block_is_a_copy_and_the_transpose_is_not() -> None:
    source = dense_source(X, dead_rows=np.arange(6) == 2)
    source.block(np.array([0, 1]))[:] = 9
    assert_array_equal(source.array, X)
    turned = source.transposed()
    assert turned.array.base is source.array.base or turned.array.base is source.array
    assert_array_equal(turned.dead_cols, np.arange(6) == 2)


def test_a_product_is_that_of_its_factors_clipped_to_the_limit() -> None:
    source = FactorSource(X, Y, np.zeros(6, bool), np.zeros(4, bool), limit=0.5)
    expected = np.clip(X @ Y.T, -0.5, 0.5)
    assert (expected == 0.5).any()
    assert_allclose(source.block(np.arange(6)), expected)
    i, j = RNG.integers(0, 6, 20), RNG.integers(0, 4, 20)
    assert_allclose(source.pairs(i, j), expected[i, j])
    assert_allclose(source.transposed().block(np.arange(4)), expected.T)


def test_rows_of_zeros_are_dead() -> None:
    x = X.copy()
    x[4] = 0
    assert_array_equal(factor_source(x, Y).dead_rows, np.arange(6) == 4)


def test_factors_must_be_finite_matrices() -> None:
    with pytest.raises(UniversalityError, match=r"from_factors y: expected two axes, found shape \(3,\)"):
        factor_source(X, Y[0])

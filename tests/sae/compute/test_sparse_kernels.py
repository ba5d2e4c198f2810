"""The compiled loops against slow exact equivalents."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from random_codes import random_codes

from universality.sae.compute import sparse_kernels as kernels


def test_combine_is_the_dense_product() -> None:
    rng = np.random.default_rng(4)
    codes, dense = random_codes(rng, 50, 40)
    decoder, bias = rng.normal(size=(40, 13)), rng.normal(size=13)
    out = np.empty((50, 13))
    kernels.combine(codes.start, codes.stop, codes.indices, codes.values, decoder, bias, out)
    assert_allclose(out, dense @ decoder + bias, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("prefixes", [(40,), (7, 25, 40)])
def test_reconstruct_returns_errors_and_gradients(prefixes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    codes, dense = random_codes(rng, 50, 40)
    decoder, target = rng.normal(size=(40, 13)), rng.normal(size=(50, 13))
    output_grad, value_grad = np.empty((len(prefixes), 50, 13)), np.zeros_like(codes.values)
    errors = np.zeros(len(prefixes))
    kernels.reconstruct(
        codes.start, codes.stop, codes.indices, codes.values, decoder, target, np.array(prefixes), 0.25,
        output_grad, value_grad, errors,
    )  # fmt: skip
    difference = np.array([dense[:, :width] @ decoder[:width] - target for width in prefixes])
    assert_allclose(errors, (difference**2).sum(axis=(1, 2)), rtol=1e-12)
    expected = 0.25 * np.cumsum(difference[::-1], axis=0)[::-1]
    assert_allclose(output_grad, expected, rtol=1e-10, atol=1e-12)
    segment = np.searchsorted(prefixes, np.arange(40), side="right")
    for t in range(50):
        for entry in range(codes.start[t], codes.stop[t]):
            feature = codes.indices[entry]
            assert_allclose(value_grad[entry], expected[segment[feature], t] @ decoder[feature], rtol=1e-10, atol=1e-12)


def test_feature_major_sums_are_transposed_products() -> None:
    rng = np.random.default_rng(6)
    codes, dense = random_codes(rng, 50, 40)
    rows, weight = rng.normal(size=(50, 13)), rng.normal(size=len(codes.values))
    first = np.empty(41, np.int64)
    token, entry = np.empty(len(weight), np.int32), np.empty(len(weight), np.int64)
    kernels.by_feature(codes.start, codes.stop, codes.indices, first, token, entry)
    assert_array_equal(np.diff(first), (dense > 0).sum(axis=0))
    out, total = np.zeros((40, 13)), np.full(40, np.nan)
    for low in range(0, 40, 16):
        kernels.weighted_sums(low, min(low + 16, 40), first, token, entry, weight, rows, out[low:])
        kernels.sums(low, min(low + 16, 40), first, entry, weight, total)
    placed = np.zeros_like(dense)
    for t in range(50):
        at = slice(codes.start[t], codes.stop[t])
        placed[t, codes.indices[at]] = weight[at]
    assert_allclose(out, placed.T @ rows, rtol=1e-10, atol=1e-12)
    assert_allclose(total, placed.sum(axis=0), rtol=1e-10, atol=1e-12)

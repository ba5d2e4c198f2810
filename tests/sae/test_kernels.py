"""The compiled loops against slow exact equivalents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from universality.sae import kernels
from universality.sae.codes import Codes
from universality.sae.relu import ReLU
from universality.sae.topk import TopK


def slow_topk(pre: np.ndarray, k: int) -> np.ndarray:
    """The k largest of each row, first of equal ones first, negative ones 0."""
    kept = np.zeros_like(pre)
    for t, row in enumerate(pre):
        best = np.argsort(-row, kind="stable")[:k]
        kept[t, best] = np.maximum(row[best], 0)
    return kept


def random_codes(rng: np.random.Generator, n: int, d_sae: int) -> tuple[Codes, np.ndarray]:
    """Rows of 0 to 11 features with unused slots between them, and the same dense."""
    dense = np.zeros((n, d_sae))
    start, stop = 12 * np.arange(n), np.empty(n, np.int64)
    indices, values = np.full(12 * n, d_sae - 1, np.int32), np.full(12 * n, 99.0)
    for t in range(n):
        count = int(rng.integers(0, 12))
        at = slice(12 * t, 12 * t + count)
        indices[at] = np.sort(rng.choice(d_sae, count, replace=False))
        values[at] = rng.uniform(0.1, 2, count)
        stop[t] = 12 * t + count
        dense[t, indices[at]] = values[at]
    return Codes(start, stop, indices, values, d_sae), dense


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("d_sae", "k"), [(1, 1), (5, 5), (40, 3), (64, 64), (257, 16), (1000, 300)])
def test_select_largest_is_topk(dtype: torch.dtype, d_sae: int, k: int) -> None:
    pre = torch.randn(70, d_sae, generator=torch.Generator().manual_seed(d_sae)).to(dtype)
    pre[0], pre[1, 0] = -1, 0  # a row in which nothing fires; a zero
    found = TopK(k).select(pre)
    exact = slow_topk(pre.double().numpy(), k)
    assert_array_equal(found.csr().toarray(), exact.astype(found.values.dtype))
    assert found.nnz == np.count_nonzero(exact)


@pytest.mark.parametrize("k", [1, 7, 30])
def test_of_equal_entries_the_first_fire(k: int) -> None:
    pre = torch.randint(-2, 3, (200, 90), generator=torch.Generator().manual_seed(0)).float()
    assert_array_equal(TopK(k).select(pre).csr().toarray(), slow_topk(pre.numpy(), k))


def test_selection_agrees_with_stock_operators() -> None:
    pre = torch.randn(300, 500, generator=torch.Generator().manual_seed(1))
    for kind in (TopK(20), ReLU()):
        assert_array_equal(kind.select(pre).csr().toarray(), kind.activate(pre).numpy())
    control = TopK(21).activate(pre).numpy()
    assert np.any(TopK(20).select(pre).csr().toarray() != control)


def test_relu_selects_what_is_positive_also_in_bfloat16() -> None:
    pre = torch.randn(50, 33, generator=torch.Generator().manual_seed(2)).bfloat16()
    assert_array_equal(ReLU().select(pre).csr().toarray(), pre.float().relu().numpy())


def test_csr_is_canonical_and_leaves_out_unused_slots() -> None:
    codes, dense = random_codes(np.random.default_rng(0), 40, 60)
    matrix = codes.csr()
    assert_array_equal(matrix.toarray(), dense)
    assert matrix.nnz == codes.nnz
    fresh = sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
    assert fresh.has_canonical_format
    assert_array_equal(Codes.of(matrix).csr().toarray(), dense)


def test_concatenated_codes_are_stacked_rows() -> None:
    rng = np.random.default_rng(3)
    parts = [random_codes(rng, n, 20) for n in (3, 1, 5)]
    whole = Codes.concatenate([codes for codes, _ in parts])
    assert_array_equal(whole.csr().toarray(), np.vstack([dense for _, dense in parts]))


def test_combine_is_the_dense_product() -> None:
    rng = np.random.default_rng(4)
    codes, dense = random_codes(rng, 50, 40)
    decoder, bias = rng.normal(size=(40, 13)), rng.normal(size=13)
    out = np.empty((50, 13))
    kernels.combine(codes.start, codes.stop, codes.indices, codes.values, decoder, bias, out)
    assert_allclose(out, dense @ decoder + bias, rtol=1e-12, atol=1e-12)


def test_reconstruct_returns_error_and_gradients() -> None:
    rng = np.random.default_rng(5)
    codes, dense = random_codes(rng, 50, 40)
    decoder, target = rng.normal(size=(40, 13)), rng.normal(size=(50, 13))
    output_grad, value_grad = np.empty((50, 13)), np.zeros_like(codes.values)
    error = kernels.reconstruct(
        codes.start, codes.stop, codes.indices, codes.values, decoder, target, 0.25, output_grad, value_grad
    )
    difference = dense @ decoder - target
    assert_allclose(error, (difference**2).sum(), rtol=1e-12)
    assert_allclose(output_grad, 0.25 * difference, rtol=1e-10, atol=1e-12)
    full = output_grad @ decoder.T
    for t in range(50):
        at = slice(codes.start[t], codes.stop[t])
        assert_allclose(value_grad[at], full[t, codes.indices[at]], rtol=1e-10, atol=1e-12)


def test_feature_major_sums_are_transposed_products() -> None:
    rng = np.random.default_rng(6)
    codes, dense = random_codes(rng, 50, 40)
    rows, weight = rng.normal(size=(50, 13)), rng.normal(size=len(codes.values))
    first = np.empty(41, np.int64)
    token, entry = np.empty(len(weight), np.int32), np.empty(len(weight), np.int64)
    kernels.by_feature(codes.start, codes.stop, codes.indices, first, token, entry)
    assert_array_equal(np.diff(first), (dense > 0).sum(axis=0))
    out, total = np.full((40, 13), np.nan), np.full(40, np.nan)
    for low in range(0, 40, 16):
        kernels.weighted_sums(low, min(low + 16, 40), first, token, entry, weight, rows, out)
        kernels.sums(low, min(low + 16, 40), first, entry, weight, total)
    placed = np.zeros_like(dense)
    for t in range(50):
        at = slice(codes.start[t], codes.stop[t])
        placed[t, codes.indices[at]] = weight[at]
    assert_allclose(out, placed.T @ rows, rtol=1e-10, atol=1e-12)
    assert_allclose(total, placed.sum(axis=0), rtol=1e-10, atol=1e-12)

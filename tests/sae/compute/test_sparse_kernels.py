"""The compiled loops against slow exact equivalents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from universality.sae.architectures.base import FiringRule
from universality.sae.compute import sparse_kernels as kernels
from universality.sae.compute import torch_gradients
from universality.sae.compute.codes import Codes
from universality.sae.compute.selection import above, floor_of_batch, largest, largest_of_batch, select


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
    found = largest(pre, k)
    exact = slow_topk(pre.double().numpy(), k)
    assert_array_equal(found.csr().toarray(), exact.astype(found.values.dtype))
    assert found.nnz == np.count_nonzero(exact)


@pytest.mark.parametrize("k", [1, 7, 30])
def test_of_equal_entries_the_first_fire(k: int) -> None:
    pre = torch.randint(-2, 3, (200, 90), generator=torch.Generator().manual_seed(0)).float()
    assert_array_equal(largest(pre, k).csr().toarray(), slow_topk(pre.numpy(), k))


@pytest.mark.parametrize(
    "rule",
    [FiringRule(k=20), FiringRule(), FiringRule(floor=torch.tensor(0.7)), FiringRule(floor=torch.linspace(-1, 2, 500))],
    ids=str,
)
def test_selection_agrees_with_stock_operators(rule: FiringRule) -> None:
    pre = torch.randn(300, 500, generator=torch.Generator().manual_seed(1))
    found, entries = select(pre, rule).csr(), torch_gradients.select(pre, rule)
    dense = np.zeros((300, 500), np.float32)
    dense[entries.token, entries.feature] = entries.values
    assert_array_equal(found.toarray(), dense)
    assert found.nnz == len(entries.values)
    control = pre.clone()
    control[7, control[7].argmax()] = -3
    assert np.any(select(control, rule).csr().toarray() != dense)


def test_above_a_floor_also_in_bfloat16() -> None:
    pre = torch.randn(50, 33, generator=torch.Generator().manual_seed(2)).bfloat16()
    assert_array_equal(above(pre).csr().toarray(), pre.float().relu().numpy())
    floor = torch.linspace(-2, 2, 33)
    kept = torch.where(pre.float() > floor.bfloat16().float(), pre.float(), 0)
    assert_array_equal(above(pre, floor.bfloat16()).csr().toarray(), kept.numpy())


@pytest.mark.parametrize("total", [1, 50, 173, 400, 10_000])
def test_largest_of_the_batch(total: int) -> None:
    """Many ties; of equal entries the first."""
    pre = torch.randint(-3, 4, (40, 30), generator=torch.Generator().manual_seed(3)).float()
    exact = slow_topk(pre.numpy().reshape(1, -1), total).reshape(40, 30)
    assert_array_equal(largest_of_batch(above(pre), total).csr().toarray(), exact)
    entries = torch_gradients.largest_of_batch(torch_gradients.select(pre, FiringRule()), total)
    dense = np.zeros((40, 30), np.float32)
    dense[entries.token, entries.feature] = entries.values
    assert_array_equal(dense, exact)


def test_floor_of_batch_is_a_quantile_and_never_negative() -> None:
    sample = torch.randn(30, 1000, generator=torch.Generator().manual_seed(4))
    floor = floor_of_batch(sample, 0.02)
    assert int((sample >= floor).sum()) == 600
    assert floor_of_batch(sample, 0.9) == 0
    assert floor_of_batch(sample, 3.0) == 0


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

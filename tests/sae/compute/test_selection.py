"""Selection of the features that fire, against slow exact equivalents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from universality.sae.architectures.base import FiringRule
from universality.sae.compute import tiles, torch_gradients
from universality.sae.compute.codes import Codes
from universality.sae.compute.selection import above, floor_of_batch, largest, largest_of_batch, select


def slow_topk(pre: np.ndarray, k: int) -> np.ndarray:
    """The k largest of each row, first of equal ones first, negative ones 0."""
    kept = np.zeros_like(pre)
    for t, row in enumerate(pre):
        best = np.argsort(-row, kind="stable")[:k]
        kept[t, best] = np.maximum(row[best], 0)
    return kept


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


@pytest.mark.parametrize("k", [1, 7, 30, 90])
def test_tiles_select_as_one_does(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal entries fall into different tiles; some tiles have fewer features than fire."""
    monkeypatch.setattr(tiles, "TOKENS_A_TILE", 60)
    monkeypatch.setattr(tiles, "FEATURES_A_TILE", 8)
    pre = torch.randint(-2, 3, (200, 90), generator=torch.Generator().manual_seed(1)).float()
    floor = torch.linspace(-1, 1, 90)
    for rule, whole in ((FiringRule(k=k), largest(pre, k)), (FiringRule(floor), above(pre, floor))):

        def of_tile(tokens: slice, features: slice, rule: FiringRule = rule) -> Codes:
            return tiles.named(select(pre[tokens, features], tiles.rule_of(rule, features)), features, 90)

        found = tiles.joined(tiles.by_tiles(of_tile, 200, 90), rule.k)
        assert_array_equal(found.csr().toarray(), whole.csr().toarray())


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
    assert floor_of_batch(torch.ones(30, 1000), 1.0) == 0, "that equal entries exceed"

"""Selection by PyTorch's operators agrees with the compiled one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch.testing import assert_close

from universality.sae.architectures.base import FiringRule
from universality.sae.compute import torch_gradients
from universality.sae.compute.selection import select


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


@pytest.mark.parametrize("k", [1, 5, 20])
def test_of_equal_pre_activations_the_first_counts_on_any_device(k: int) -> None:
    """Small whole numbers: nearly every token has ties at the least that counts, some have fewer than k above 0."""
    pre = torch.randint(-2, 3, (200, 64), generator=torch.Generator().manual_seed(0)).float()
    pre[:20] = torch.randn(20, 64, generator=torch.Generator().manual_seed(1))
    found, expected = torch_gradients.select(pre, FiringRule(k=k)), select(pre, FiringRule(k=k)).csr()
    shown = torch.zeros(200, 64).index_put_((found.token, found.feature), found.values)
    assert_close(shown.numpy(), expected.toarray(), rtol=0, atol=0)
    assert bool((found.token * 64 + found.feature).diff().gt(0).all())

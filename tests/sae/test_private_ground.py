"""Functions of PyTorch that it does not document are tried before they are used; the fallbacks compute the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from universality.sae.architectures.base import FiringRule
from universality.sae.compute import torch_gradients
from universality.sae.compute.products import gives_linear, linear
from universality.sae.compute.selection import select
from universality.sae.training.adam import fused, gives_adam, plain


def test_an_operator_of_another_signature_or_meaning_is_not_used() -> None:
    def other_arguments(x: Tensor, weight: Tensor) -> Tensor:
        return x

    def other_meaning(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return x @ weight.T

    assert gives_linear(torch.nn.functional.linear)
    assert not gives_linear(other_arguments)  # type: ignore[arg-type]
    assert not gives_linear(other_meaning)
    assert not gives_linear(lambda *_: torch.ops.mkldnn.no_such_operator())
    x, weight, bias = torch.randn(5, 7), torch.randn(3, 7), torch.randn(3)
    assert_close(linear(x, weight, bias), x @ weight.T + bias)


def test_adam_of_another_signature_or_meaning_is_not_used() -> None:
    def other_meaning(parameter: Tensor, grad: Tensor, *_: Any) -> None:
        parameter.sub_(grad)

    assert gives_adam(fused)
    assert not gives_adam(lambda: None)  # type: ignore[arg-type]
    assert not gives_adam(other_meaning)


def test_the_fallback_is_adam() -> None:
    generator = torch.Generator().manual_seed(0)
    grads = [torch.randn(40, generator=generator) for _ in range(6)]
    reference = torch.nn.Parameter(torch.ones(40))
    optimizer = torch.optim.Adam([reference], lr=0.01, betas=(0.9, 0.99), eps=1e-9)
    ours = [torch.ones(40), torch.zeros(40), torch.zeros(40)]
    for step, grad in enumerate(grads):
        reference.grad = grad.clone()
        optimizer.step()
        plain(ours[0], grad, ours[1], ours[2], 0.01, step, (0.9, 0.99), 1e-9)
    assert_close(ours[0], reference.detach())


@pytest.mark.parametrize("k", [1, 5, 20])
def test_of_equal_pre_activations_the_first_counts_on_any_device(k: int) -> None:
    """Small whole numbers: nearly every token has ties at the least that counts, some have fewer than k above 0."""
    pre = torch.randint(-2, 3, (200, 64), generator=torch.Generator().manual_seed(0)).float()
    pre[:20] = torch.randn(20, 64, generator=torch.Generator().manual_seed(1))
    found, expected = torch_gradients.select(pre, FiringRule(k=k)), select(pre, FiringRule(k=k)).csr()
    shown = torch.zeros(200, 64).index_put_((found.token, found.feature), found.values)
    assert_close(shown.numpy(), expected.toarray(), rtol=0, atol=0)
    assert bool((found.token * 64 + found.feature).diff().gt(0).all())

"""Adam by parts, by PyTorch's undocumented function and by elementary operators."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from universality.sae.training.adam import Adam, fused, gives_adam, plain


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


def test_adam_in_parts_is_adam() -> None:
    parameter = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    ours, theirs = parameter.clone(), parameter.clone().requires_grad_()
    adam, optimizer = (
        Adam({"W": ours}, 0.8, 0.95, 1e-6),
        torch.optim.Adam([theirs], 0.01, (0.8, 0.95), 1e-6, fused=True),
    )
    for step in range(5):
        grad = torch.randn(50, 8, generator=torch.Generator().manual_seed(step + 1))
        for part in (slice(0, 16), slice(16, 32), slice(32, 50)):
            adam.update("W", grad[part], 0.01, step, part)
        theirs.grad = grad
        optimizer.step()
    assert torch.equal(ours, theirs.detach())
    with pytest.raises(KeyError, match="second"):
        adam.load_state_dict({"first": adam.first})

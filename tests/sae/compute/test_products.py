"""Dense products: the fast operator is tried before it is used."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.testing import assert_close

from universality.sae.compute.products import gives_linear, linear


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

"""Gradients written out, against autograd on the dense formulation and against finite differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from universality.sae.architectures import Architecture
from universality.sae.relu import ReLU
from universality.sae.step import Batch, Step, dense_step, sparse_step
from universality.sae.topk import TopK
from universality.sae.weights import Weights

N_TOKENS, D_IN, D_SAE = 1100, 12, 300  # more tokens and features than one task holds
DEAD = torch.tensor([3, 4, 100, 101, 102, 250, 299])


def random_weights(seed: int = 0, n_features: int = D_SAE, d_in: int = D_IN) -> Weights:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Weights(
        W_enc=normal(n_features, d_in),
        b_enc=0.1 * normal(n_features),
        W_dec=normal(n_features, d_in) / d_in**0.5,
        b_dec=0.3 * normal(d_in),
    )


def tokens(n: int = N_TOKENS, d_in: int = D_IN, seed: int = 1) -> Tensor:
    return torch.randn(n, d_in, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense_loss(kind: Architecture, weights: Weights, x: Tensor, pre_bias: bool, dead: Tensor) -> Tensor:
    """The objective as the modules' docstrings state it, by stock operators."""
    pre = (x - weights.b_dec if pre_bias else x) @ weights.W_enc.T + weights.b_enc
    acts = kind.activate(pre)
    error = x - (acts @ weights.W_dec + weights.b_dec)
    loss = error.square().mean()
    if isinstance(kind, ReLU):
        return loss + kind.l1 * acts.sum(dim=1).mean()
    assert isinstance(kind, TopK)
    if not len(dead):
        return loss
    leftover = error.detach()
    chosen = TopK(min(kind.aux_k, len(dead))).activate(pre[:, dead])
    aux = (leftover - chosen @ weights.W_dec[dead]).square().sum() / leftover.square().sum()
    return loss + kind.aux_weight * aux


def autograd(kind: Architecture, weights: Weights, x: Tensor, pre_bias: bool, dead: Tensor) -> Weights:
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.tensors().items()}
    dense_loss(kind, Weights(**leaves), x, pre_bias, dead).backward()  # type: ignore[no-untyped-call]
    return Weights(**{name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None})


def our_step(
    kind: Architecture, weights: Weights, x: Tensor, pre_bias: bool = True, dead: Tensor = DEAD
) -> tuple[Step, float]:
    batch = Batch.of(x, weights.b_dec, pre_bias)
    step, aux = kind.step(weights, batch, dead, torch.float64, pre_bias)
    return step, float(aux)


@pytest.mark.parametrize("pre_bias", [True, False])
@pytest.mark.parametrize(
    "kind",
    [TopK(5, aux_weight=0.0), TopK(5, aux_weight=0.5), TopK(5, aux_k=3, aux_weight=0.5), ReLU(0.02)],
    ids=["topk", "topk-aux", "topk-aux-chosen", "relu-dense"],
)
def test_gradients_equal_autograd_on_the_dense_formulation(kind: Architecture, pre_bias: bool) -> None:
    weights, x = random_weights(), tokens()
    step, _ = our_step(kind, weights, x, pre_bias)
    expected = autograd(kind, weights, x, pre_bias, DEAD)
    for name, gradient in step.gradients.tensors().items():
        assert_close(gradient, expected.tensors()[name], rtol=1e-9, atol=1e-13)


def test_relu_takes_the_sparse_way_where_few_fire() -> None:
    weights, x = random_weights(), tokens()
    weights.b_enc.sub_(7)
    kind = ReLU(0.02)
    assert kind._is_sparse(weights, Batch.of(x, weights.b_dec, True))
    step, _ = our_step(kind, weights, x)
    assert 0 < float(step.firings.sum()) / N_TOKENS < D_SAE / 16
    expected = autograd(kind, weights, x, True, DEAD)
    for name, gradient in step.gradients.tensors().items():
        assert_close(gradient, expected.tensors()[name], rtol=1e-9, atol=1e-13)


def test_the_comparison_can_fail() -> None:
    weights, x = random_weights(), tokens()
    step, _ = our_step(TopK(5, aux_weight=0.0), weights, x)
    for wrong in (TopK(6, aux_weight=0.0), TopK(5, aux_weight=0.5)):
        expected = autograd(wrong, weights, x, True, DEAD)
        with pytest.raises(AssertionError, match="not close"):
            assert_close(step.gradients.W_dec, expected.W_dec, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", [TopK(3, aux_weight=0.0), ReLU(0.05)], ids=["topk", "relu"])
def test_gradcheck(kind: Architecture) -> None:
    """Finite differences through sparse forward and backward; nothing of autograd in between."""
    weights, x = random_weights(n_features=9, d_in=4), tokens(6, 4)

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *parameters: Tensor) -> Tensor:  # type: ignore[override]
            given = Weights(*(p.detach() for p in parameters))
            step, _ = our_step(kind, given, x, dead=torch.tensor([], dtype=torch.int64))
            ctx.save_for_backward(*step.gradients.tensors().values())
            loss = step.squared_error / x.numel()
            if isinstance(kind, ReLU):
                loss = loss + kind.l1 * step.activation_sum / len(x)
            return torch.as_tensor(loss, dtype=torch.float64)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
            return tuple(grad * saved for saved in ctx.saved_tensors)

    leaves = [tensor.requires_grad_() for tensor in weights.tensors().values()]
    torch.autograd.gradcheck(Loss.apply, leaves, eps=1e-7, atol=1e-6, rtol=1e-5)


def test_sparse_and_dense_steps_agree() -> None:
    weights, x, kind = random_weights(), tokens(), TopK(7)
    batch = Batch.of(x, weights.b_dec, True)
    options: dict[str, Any] = {"products": torch.float64, "keep": DEAD}
    sparse = sparse_step(weights, batch, kind.select, **options)
    dense = dense_step(weights, batch, kind.activate, **options)
    assert float(sparse.squared_error) == pytest.approx(float(dense.squared_error), rel=1e-12)
    assert_close(sparse.firings, dense.firings)
    assert_close(sparse.output_grad, dense.output_grad)
    assert_close(sparse.kept, dense.kept)


def test_auxiliary_loss_is_one_when_the_dead_explain_nothing() -> None:
    weights, x = random_weights(), tokens()
    weights.b_enc[DEAD] = -1000
    _, aux = our_step(TopK(5), weights, x)
    assert aux == pytest.approx(1)
    _, without = our_step(TopK(5), weights, x, dead=torch.tensor([], dtype=torch.int64))
    assert without == 0


def test_bfloat16_products_stay_near_float32() -> None:
    x = tokens().float()
    weights = Weights(**{name: tensor.float() for name, tensor in random_weights().tensors().items()})
    batch = Batch.of(x, weights.b_dec, True)
    kind = TopK(5, aux_weight=0.0)
    none = torch.tensor([], dtype=torch.int64)
    exact, _ = kind.step(weights, batch, none, torch.float32, True)
    rough, _ = kind.step(weights, batch, none, torch.bfloat16, True)
    for name, gradient in exact.gradients.tensors().items():
        other = rough.gradients.tensors()[name]
        assert float((gradient - other).norm() / gradient.norm()) < 0.1

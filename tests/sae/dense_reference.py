"""The objectives of the architectures by PyTorch's operators, whose gradients autograd gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from universality.sae.architectures.base import Architecture
from universality.sae.architectures.batchtopk import BatchTopK
from universality.sae.architectures.jumprelu import JumpReLU
from universality.sae.architectures.matryoshka import Matryoshka
from universality.sae.architectures.relu import ReLU
from universality.sae.architectures.topk import TopK
from universality.sae.compute.batch_gradients import Batch, Step
from universality.sae.compute.dense_gradients import dense_step
from universality.sae.compute.sparse_gradients import sparse_step
from universality.sae.compute.torch_gradients import torch_step
from universality.sae.compute.weights import Weights

N_TOKENS, D_IN, D_SAE = 1100, 12, 300  # more tokens and features than one task holds


DEAD = torch.tensor([3, 4, 100, 101, 102, 250, 299])


NONE = torch.tensor([], dtype=torch.int64)


Way = Callable[[Architecture, Weights, Batch, Tensor, torch.dtype], Step]


WAYS: dict[str, Way] = {
    "sparse": sparse_step,
    "torch": torch_step,
    "dense": dense_step,
}


def random_weights(seed: int = 0, n_features: int = D_SAE, d_in: int = D_IN, threshold: bool = False) -> Weights:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Weights(
        W_enc=normal(n_features, d_in),
        b_enc=0.1 * normal(n_features),
        W_dec=normal(n_features, d_in) / d_in**0.5,
        b_dec=0.3 * normal(d_in),
        log_threshold=0.3 * normal(n_features) if threshold else None,
    )


def tokens(n: int = N_TOKENS, d_in: int = D_IN, seed: int = 1) -> Tensor:
    return torch.randn(n, d_in, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Jump(torch.autograd.Function):
    """z · H(z − θ) and H(z − θ) with the estimates of Rajamanoharan et al. 2024, as their appendix writes them."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, bandwidth: float) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth = bandwidth
        step = (z > threshold).to(z.dtype)
        return z * step, step

    @staticmethod
    def backward(ctx: Any, of_acts: Tensor, of_step: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        z, threshold = ctx.saved_tensors
        scaled = (z - threshold) / ctx.bandwidth
        rectangle = ((scaled > -0.5) & (scaled < 0.5)).to(z.dtype) / ctx.bandwidth
        of_threshold = -(threshold * rectangle * of_acts) - rectangle * of_step
        return of_acts * (z > threshold), of_threshold.sum(dim=0), None


def largest_positive(pre: Tensor, k: int) -> Tensor:
    """The k largest of each row where they are positive, all others 0."""
    values, indices = pre.topk(k, dim=1)
    return torch.zeros_like(pre).scatter(1, indices, values.relu())


def dense_acts(kind: Architecture, pre: Tensor, log_threshold: Tensor | None) -> tuple[Tensor, Tensor]:
    """Activations as the modules' docstrings state them, by stock operators; and the penalty."""
    nothing = pre.new_zeros(())
    if isinstance(kind, ReLU):
        acts = pre.relu()
        return acts, kind.l1 * acts.sum(dim=1).mean()
    if isinstance(kind, JumpReLU):
        assert log_threshold is not None
        acts, step = Jump.apply(pre, log_threshold.exp(), kind.bandwidth)
        return acts, kind.l0 * step.sum(dim=1).mean()
    if isinstance(kind, BatchTopK):
        return largest_positive(pre.reshape(1, -1), kind.k * len(pre)).reshape(pre.shape), nothing
    assert isinstance(kind, TopK)
    return largest_positive(pre, kind.k), nothing


def dense_loss(kind: Architecture, weights: Weights, x: Tensor, pre_bias: bool, dead: Tensor) -> Tensor:
    """The objective by stock operators."""
    pre = (x - weights.b_dec if pre_bias else x) @ weights.W_enc.T + weights.b_enc
    acts, loss = dense_acts(kind, pre, weights.log_threshold)
    widths = (*kind.nested, acts.shape[1]) if isinstance(kind, Matryoshka) else (acts.shape[1],)
    for width in widths:
        error = x - (acts[:, :width] @ weights.W_dec[:width] + weights.b_dec)
        loss = loss + error.square().mean()
    if not isinstance(kind, TopK) or not len(dead):
        return loss
    leftover = error.detach()
    chosen = largest_positive(pre[:, dead], min(kind.aux_k, len(dead)))
    aux = (leftover - chosen @ weights.W_dec[dead]).square().sum() / leftover.square().sum()
    return loss + kind.aux_weight * aux


def autograd(kind: Architecture, weights: Weights, x: Tensor, pre_bias: bool, dead: Tensor) -> tuple[float, Weights]:
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.tensors().items()}
    loss = dense_loss(kind, Weights(**leaves), x, pre_bias, dead)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach()), Weights(**{name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None})


def check(
    kind: Architecture, way: str, weights: Weights, x: Tensor, pre_bias: bool = True, dead: Tensor = DEAD
) -> Step:
    """Loss and all gradients of one way against autograd."""
    step = WAYS[way](kind, weights, Batch.of(x, weights.b_dec, pre_bias), dead, torch.float64)
    loss, expected = autograd(kind, weights, x, pre_bias, dead)
    found = float(step.loss) + (kind.aux.weight * float(step.auxiliary) if kind.aux else 0)
    assert found == pytest.approx(loss, rel=1e-11)
    assert set(step.gradients(weights).tensors()) == set(expected.tensors())
    for name, gradient in step.gradients(weights).tensors().items():
        assert_close(gradient, expected.tensors()[name], rtol=1e-9, atol=1e-13)
    return step


def check_extremes(architecture: Architecture, way: str) -> None:
    """`check` where nothing fires, and where everything does."""
    for bias in (-50.0, 50.0):
        weights = random_weights(threshold=architecture.initial_threshold is not None)
        weights.b_enc.fill_(bias)
        step = check(architecture, way, weights, tokens(40), dead=NONE)
        assert (int(step.firings.sum()) == 0) == (bias < 0)


def check_differs(right: Architecture, wrong: Architecture, name: str = "W_enc") -> None:
    """The gradient of one architecture must not pass for that of another."""
    weights, x = random_weights(threshold=right.initial_threshold is not None), tokens()
    gradients = sparse_step(right, weights, Batch.of(x, weights.b_dec, True), DEAD, torch.float64).gradients(weights)
    _, expected = autograd(wrong, weights, x, True, DEAD)
    with pytest.raises(AssertionError, match="not close"):
        assert_close(gradients.tensors()[name], expected.tensors()[name], rtol=1e-3, atol=1e-6)

"""Gradients written out, against autograd on the dense formulation and against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
from universality.sae.compute import sparse_gradients as sparse
from universality.sae.compute.batch_gradients import Batch, Step
from universality.sae.compute.dense_gradients import dense_step
from universality.sae.compute.dispatch import gradients, is_sparse
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


def kept(pre: Tensor, k: int) -> Tensor:
    """The k largest of each row where they are positive."""
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
        return kept(pre.reshape(1, -1), kind.k * len(pre)).reshape(pre.shape), nothing
    assert isinstance(kind, TopK)
    return kept(pre, kind.k), nothing


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
    chosen = kept(pre[:, dead], min(kind.aux_k, len(dead)))
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


KINDS: dict[str, Architecture] = {
    "relu": ReLU(0.02),
    "jumprelu": JumpReLU(0.03, bandwidth=0.4),
    "topk": TopK(5, aux_weight=0.0),
    "topk-aux": TopK(5, aux_weight=0.5),
    "topk-aux-chosen": TopK(5, aux_k=3, aux_weight=0.5),
    "topk-aux-sparse": TopK(5, aux_k=1, aux_weight=0.5),
    "batchtopk": BatchTopK(5, aux_weight=0.5),
    "batchtopk-aux-sparse": BatchTopK(5, aux_k=1, aux_weight=0.5),
    "matryoshka": Matryoshka(5, aux_weight=0.0, nested=(20, 64, 280)),
    "matryoshka-aux": Matryoshka(5, aux_k=3, aux_weight=0.5, nested=(101,)),
}
CASES = [(name, way) for name in KINDS for way in ("sparse", "torch")] + [("relu", "dense"), ("jumprelu", "dense")]


@pytest.mark.parametrize("pre_bias", [True, False])
@pytest.mark.parametrize(("name", "way"), CASES)
def test_gradients_equal_autograd_on_the_dense_formulation(name: str, way: str, pre_bias: bool) -> None:
    kind = KINDS[name]
    step = check(kind, way, random_weights(threshold=name == "jumprelu"), tokens(), pre_bias)
    assert (float(step.auxiliary) > 0) == ("aux" in name or name == "batchtopk")


@pytest.mark.parametrize("way", ["sparse", "torch"])
@pytest.mark.parametrize("name", KINDS)
def test_gradients_where_nothing_fires_and_where_all_does(name: str, way: str) -> None:
    for bias in (-50.0, 50.0):
        weights = random_weights(threshold=name == "jumprelu")
        weights.b_enc.fill_(bias)
        step = check(KINDS[name], way, weights, tokens(40), dead=NONE)
        assert (int(step.firings.sum()) == 0) == (bias < 0)


@pytest.mark.parametrize("kind", [ReLU(0.02), JumpReLU(0.03, bandwidth=0.4)], ids=["relu", "jumprelu"])
def test_the_way_follows_the_density(kind: Architecture) -> None:
    weights, x = random_weights(threshold=isinstance(kind, JumpReLU)), tokens()
    batch = Batch.of(x, weights.b_dec, True)
    assert not is_sparse(kind, weights, batch)
    weights.b_enc.sub_(7)
    batch = Batch.of(x, weights.b_dec, True)
    assert is_sparse(kind, weights, batch)
    step = gradients(kind, weights, batch, NONE, torch.float64)
    assert 0 < float(step.firings.sum()) / N_TOKENS < D_SAE / 16
    check(kind, "sparse", weights, x)


def test_a_batch_is_selected_exactly_across_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the tokens that the floor was judged by are nothing like the others."""
    weights, x = random_weights(), tokens()
    x[:: N_TOKENS // sparse.SAMPLE_TOKENS] *= 50
    kind = BatchTopK(5, aux_weight=0.0)
    monkeypatch.setattr(sparse, "TOKENS_A_TASK", 100)
    step = check(kind, "sparse", weights, x)
    assert int(step.firings.sum()) == 5 * N_TOKENS
    check(kind, "torch", weights, x)
    pre = (x - weights.b_dec) @ weights.W_enc.T + weights.b_enc
    assert step.lowest == pytest.approx(float(pre.flatten().topk(5 * N_TOKENS).values.min()))


@pytest.mark.parametrize("way", ["sparse", "torch"])
def test_of_equal_activations_the_first_of_the_batch_fire(way: str) -> None:
    weights = random_weights()
    weights.W_enc[:] = weights.W_enc[0]
    weights.b_enc[:] = 0
    batch = Batch.of(weights.b_dec + weights.W_enc[:1].expand(30, -1), weights.b_dec, True)
    step = WAYS[way](BatchTopK(4, aux_weight=0.0), weights, batch, NONE, torch.float64)
    assert step.firings.tolist() == [1] * 120 + [0] * 180  # of the first token


def test_the_comparison_can_fail() -> None:
    weights, x = random_weights(threshold=True), tokens()
    plain = replace(weights, log_threshold=None)
    right = {
        TopK(5, aux_weight=0.0): [TopK(6, aux_weight=0.0), TopK(5, aux_weight=0.5), BatchTopK(5, aux_weight=0.0)],
        Matryoshka(5, nested=(20,)): [Matryoshka(5, nested=(21,)), BatchTopK(5)],
        JumpReLU(0.03): [JumpReLU(0.04), JumpReLU(0.03, bandwidth=0.2)],
        ReLU(0.02): [ReLU(0.03)],
    }
    for kind, wrongs in right.items():
        given = weights if isinstance(kind, JumpReLU) else plain
        step = sparse_step(kind, given, Batch.of(x, given.b_dec, True), DEAD, torch.float64)
        found = step.gradients(given).tensors()
        for wrong in wrongs:
            _, expected = autograd(wrong, given, x, True, DEAD)
            name = "log_threshold" if isinstance(kind, JumpReLU) else "W_enc"
            with pytest.raises(AssertionError, match="not close"):
                assert_close(found[name], expected.tensors()[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("way", ["sparse", "torch"])
@pytest.mark.parametrize(
    "kind",
    [TopK(3, aux_weight=0.0), ReLU(0.05), BatchTopK(3, aux_weight=0.0), Matryoshka(3, aux_weight=0.0, nested=(4,))],
    ids=["topk", "relu", "batchtopk", "matryoshka"],
)
def test_gradcheck(kind: Architecture, way: str) -> None:
    """Finite differences through sparse forward and backward; nothing of autograd in between.

    Not of JumpReLU, whose threshold's gradient is no derivative of its loss.
    """
    weights, x = random_weights(n_features=9, d_in=4), tokens(6, 4)

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *parameters: Tensor) -> Tensor:  # type: ignore[override]
            given = Weights(*(p.detach() for p in parameters))
            step = WAYS[way](kind, given, Batch.of(x, given.b_dec, True), NONE, torch.float64)
            ctx.save_for_backward(*step.gradients(given).tensors().values())
            return torch.as_tensor(step.loss, dtype=torch.float64)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
            return tuple(grad * saved for saved in ctx.saved_tensors)

    leaves = [tensor.requires_grad_() for tensor in weights.tensors().values()]
    torch.autograd.gradcheck(Loss.apply, leaves, eps=1e-7, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_all_ways_report_the_same(name: str) -> None:
    kind = KINDS[name]
    weights, x = random_weights(threshold=name == "jumprelu"), tokens()
    ways = ("sparse", "torch", "dense") if kind.adaptive else ("sparse", "torch")
    steps = [WAYS[way](kind, weights, Batch.of(x, weights.b_dec, True), DEAD, torch.float64) for way in ways]
    for step in steps[1:]:
        for field in ("squared_error", "loss", "auxiliary"):
            assert float(getattr(step, field)) == pytest.approx(float(getattr(steps[0], field)), rel=1e-11)
        assert_close(step.firings, steps[0].firings)
        assert_close(step.output_grad, steps[0].output_grad)
        assert (step.lowest is None) == (steps[0].lowest is None)
    part = slice(90, 281)
    whole = steps[0].gradients(weights)
    encoder, decoder = steps[0].rows_of(part, weights.W_dec)
    assert_close(encoder, whole.W_enc[part])
    assert_close(decoder, whole.W_dec[part])


def test_auxiliary_loss_is_one_when_the_dead_explain_nothing() -> None:
    weights, x = random_weights(), tokens()
    weights.b_enc[DEAD] = -1000
    batch = Batch.of(x, weights.b_dec, True)
    for aux_k in (1, 256):
        step = sparse_step(TopK(5, aux_k=aux_k), weights, batch, DEAD, torch.float64)
        assert float(step.auxiliary) == pytest.approx(1)
    assert sparse_step(TopK(5), weights, batch, NONE, torch.float64).auxiliary == 0


def test_bfloat16_products_stay_near_float32() -> None:
    x = tokens().float()
    weights = Weights(**{name: tensor.float() for name, tensor in random_weights().tensors().items()})
    batch = Batch.of(x, weights.b_dec, True)
    for kind in (TopK(5), BatchTopK(5), ReLU(0.02)):
        exact = gradients(kind, weights, batch, NONE, torch.float32).gradients(weights).tensors()
        rough = gradients(kind, weights, batch, NONE, torch.bfloat16).gradients(weights).tensors()
        for name, gradient in exact.items():
            assert float((gradient - rough[name]).norm() / gradient.norm()) < 0.1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", KINDS)
def test_a_gpu_computes_the_same(name: str) -> None:
    weights, x = random_weights(threshold=name == "jumprelu"), tokens()
    there = Weights(**{key: tensor.cuda() for key, tensor in weights.tensors().items()})
    expected = sparse_step(KINDS[name], weights, Batch.of(x, weights.b_dec, True), DEAD, torch.float64)
    for way in ("torch", "dense") if KINDS[name].adaptive else ("torch",):
        batch = Batch.of(x.cuda(), there.b_dec, True)
        found = WAYS[way](KINDS[name], there, batch, DEAD.cuda(), torch.float64).gradients(there).tensors()
        for key, gradient in expected.gradients(weights).tensors().items():
            assert_close(found[key].cpu(), gradient, rtol=1e-8, atol=1e-12)

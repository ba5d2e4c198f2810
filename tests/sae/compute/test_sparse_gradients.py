"""Gradients by (indices, values): selection over a whole batch, finite differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dense_reference import N_TOKENS, NONE, WAYS, check, random_weights, tokens
from torch import Tensor

from universality.sae.architectures.base import Architecture
from universality.sae.architectures.batchtopk import BatchTopK
from universality.sae.architectures.matryoshka import Matryoshka
from universality.sae.architectures.relu import ReLU
from universality.sae.architectures.topk import TopK
from universality.sae.compute import sparse_gradients as sparse
from universality.sae.compute import tiles
from universality.sae.compute.batch_gradients import Batch
from universality.sae.compute.weights import Weights


def test_a_batch_is_selected_exactly_across_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the tokens that the floor was judged by are nothing like the others."""
    weights, x = random_weights(), tokens()
    x[:: N_TOKENS // sparse.SAMPLE_TOKENS] *= 50
    kind = BatchTopK(5, aux_weight=0.0)
    monkeypatch.setattr(tiles, "TOKENS_A_TILE", 100)
    monkeypatch.setattr(tiles, "FEATURES_A_TILE", 7)
    step = check(kind, "sparse", weights, x)
    assert int(step.firings.sum()) == 5 * N_TOKENS
    check(kind, "torch", weights, x)
    pre = (x - weights.b_dec) @ weights.W_enc.T + weights.b_enc
    assert step.lowest == pytest.approx(float(pre.flatten().topk(5 * N_TOKENS).values.min()))


@pytest.mark.parametrize("aux_k", [1, 3])
@pytest.mark.parametrize("products", [torch.float32, torch.bfloat16])
def test_tiles_change_nothing_in_float32(aux_k: int, products: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first tile has no dead feature."""
    weights, x = random_weights(), tokens().float()
    weights = Weights(*(w.float() for w in (weights.W_enc, weights.b_enc, weights.W_dec, weights.b_dec)))
    dead, batch = torch.tensor([130, 131, 250, 298, 299]), Batch.of(x, weights.b_dec, True)
    steps = []
    for features in (4096, 100):
        monkeypatch.setattr(tiles, "FEATURES_A_TILE", features)
        steps.append(sparse.sparse_step(TopK(5, aux_k=aux_k, aux_weight=0.5), weights, batch, dead, products))
    whole, tiled = (step.gradients(weights).tensors() for step in steps)
    assert steps[1].firings.equal(steps[0].firings)
    for name, gradient in whole.items():
        assert gradient.dtype == tiled[name].dtype == torch.float32
        torch.testing.assert_close(tiled[name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("way", ["sparse", "torch"])
def test_of_equal_activations_the_first_of_the_batch_fire(way: str) -> None:
    weights = random_weights()
    weights.W_enc[:] = weights.W_enc[0]
    weights.b_enc[:] = 0
    batch = Batch.of(weights.b_dec + weights.W_enc[:1].expand(30, -1), weights.b_dec, True)
    step = WAYS[way](BatchTopK(4, aux_weight=0.0), weights, batch, NONE, torch.float64)
    assert step.firings.tolist() == [1] * 120 + [0] * 180  # of the first token


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

"""Gradients written out, against autograd on the dense formulation and against finite differences."""

from __future__ import annotations

import pytest
import torch
from dense_reference import DEAD, WAYS, random_weights, tokens
from torch.testing import assert_close

from universality.sae.architectures.base import Architecture
from universality.sae.architectures.batchtopk import BatchTopK
from universality.sae.architectures.jumprelu import JumpReLU
from universality.sae.architectures.matryoshka import Matryoshka
from universality.sae.architectures.relu import ReLU
from universality.sae.architectures.topk import TopK
from universality.sae.compute import tiles
from universality.sae.compute.batch_gradients import Batch
from universality.sae.compute.sparse_gradients import sparse_step
from universality.sae.compute.weights import Weights

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


@pytest.mark.parametrize("name", KINDS)
def test_all_ways_report_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where features lie in several tiles, one of them without a dead feature."""
    monkeypatch.setattr(tiles, "FEATURES_A_TILE", 120)
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

"""The way that gradients are computed follows the density; products in bfloat16."""

from __future__ import annotations

import pytest
import torch
from dense_reference import D_SAE, N_TOKENS, NONE, check, random_weights, tokens

from universality.sae.architectures.base import Architecture
from universality.sae.architectures.batchtopk import BatchTopK
from universality.sae.architectures.jumprelu import JumpReLU
from universality.sae.architectures.relu import ReLU
from universality.sae.architectures.topk import TopK
from universality.sae.compute.batch_gradients import Batch
from universality.sae.compute.dispatch import gradients, is_sparse
from universality.sae.compute.weights import Weights


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


def test_bfloat16_products_stay_near_float32() -> None:
    x = tokens().float()
    weights = Weights(**{name: tensor.float() for name, tensor in random_weights().tensors().items()})
    batch = Batch.of(x, weights.b_dec, True)
    for kind in (TopK(5), BatchTopK(5), ReLU(0.02)):
        exact = gradients(kind, weights, batch, NONE, torch.float32).gradients(weights).tensors()
        rough = gradients(kind, weights, batch, NONE, torch.bfloat16).gradients(weights).tensors()
        for name, gradient in exact.items():
            assert float((gradient - rough[name]).norm() / gradient.norm()) < 0.1

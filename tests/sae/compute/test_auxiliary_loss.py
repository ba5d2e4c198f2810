"""AuxK: its value where the answer is known."""

from __future__ import annotations

import pytest
import torch
from dense_reference import DEAD, NONE, random_weights, tokens

from universality.sae.architectures.topk import TopK
from universality.sae.compute.batch_gradients import Batch
from universality.sae.compute.sparse_gradients import sparse_step


def test_auxiliary_loss_is_one_when_the_dead_explain_nothing() -> None:
    weights, x = random_weights(), tokens()
    weights.b_enc[DEAD] = -1000
    batch = Batch.of(x, weights.b_dec, True)
    for aux_k in (1, 256):
        step = sparse_step(TopK(5, aux_k=aux_k), weights, batch, DEAD, torch.float64)
        assert float(step.auxiliary) == pytest.approx(1)
    assert sparse_step(TopK(5), weights, batch, NONE, torch.float64).auxiliary == 0

"""Dense gradients over stretches of tokens, and what a forward function may return."""

from __future__ import annotations

import pytest
import torch
from dense_reference import DEAD, N_TOKENS, random_weights, tokens
from torch.testing import assert_close

from universality.errors import ModelError
from universality.sae.architectures.base import AutogradArchitecture
from universality.sae.architectures.relu import ReLU
from universality.sae.compute import dense_gradients
from universality.sae.compute.batch_gradients import Batch
from universality.sae.compute.dense_gradients import activations, dense_step


def test_stretches_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, x = random_weights(), tokens()
    batch = Batch.of(x, weights.b_dec, True)
    whole = dense_step(ReLU(0.02), weights, batch, DEAD, torch.float64)
    monkeypatch.setattr(dense_gradients, "ENTRIES_A_STRETCH", {"cpu": 300 * 170, "other": 1})
    parts = dense_step(ReLU(0.02), weights, batch, DEAD, torch.float64)
    for name, gradient in whole.gradients(weights).tensors().items():
        assert_close(parts.gradients(weights).tensors()[name], gradient)
    assert float(parts.loss) == pytest.approx(float(whole.loss))
    assert parts.firings.tolist() == whole.firings.tolist()
    assert N_TOKENS > 170


class Wide(AutogradArchitecture):
    def forward(self, pre, parameters):  # type: ignore[no-untyped-def]
        return torch.zeros(len(pre), 2)


def test_activations_of_another_shape_are_refused() -> None:
    with pytest.raises(ModelError, match=r"Wide.forward must return .* of shape \[5, 3\]; found shape \[5, 2\], least"):
        activations(Wide(), torch.zeros(5, 3), {})
    assert activations(AutogradArchitecture(), torch.tensor([[-1.0, 2.0]]), {}).tolist() == [[0.0, 2.0]]

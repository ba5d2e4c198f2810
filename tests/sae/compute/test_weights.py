"""Parameters by name, those of an architecture's own included."""

from __future__ import annotations

import torch

from universality.sae.architectures.topk import TopK
from universality.sae.compute.weights import Weights, own_parameters


def test_tensors_are_named_and_missing_ones_left_out() -> None:
    weights = Weights(
        *(torch.zeros(shape) for shape in ((3, 2), (3,), (3, 2), (2,))), parameters={"gain": torch.ones(3)}
    )
    assert list(weights.tensors()) == ["W_enc", "b_enc", "W_dec", "b_dec", "gain"]
    assert weights.tensors()["gain"] is weights.parameters["gain"]


def test_architectures_that_are_built_in_have_no_own_parameters() -> None:
    assert own_parameters(TopK(3), 10) == {}

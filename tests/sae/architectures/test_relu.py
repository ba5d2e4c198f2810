"""The gradients of ReLU with an L1 penalty."""

from __future__ import annotations

import pytest
import torch
from dense_reference import check, check_differs, check_extremes, random_weights, tokens

from universality.sae.architectures.relu import ReLU

WAYS = ["sparse", "torch", "dense"]


@pytest.mark.parametrize("pre_bias", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_gradients_equal_autograd_on_the_dense_formulation(way: str, pre_bias: bool) -> None:
    check(ReLU(0.02), way, random_weights(), tokens(), pre_bias)


@pytest.mark.parametrize("way", ["sparse", "torch"])
def test_gradients_where_nothing_fires_and_where_all_does(way: str) -> None:
    check_extremes(ReLU(0.02), way)


def test_another_penalty_has_other_gradients() -> None:
    check_differs(ReLU(0.02), ReLU(0.03))


def test_the_penalty_rises_with_its_share() -> None:
    assert ReLU(0.02).scheduled(0.25, 0.9) == ReLU(0.005)
    acts = torch.tensor([[1.0, 0.0], [2.0, 3.0]])
    assert float(ReLU(0.02).penalty(acts, 2)) == pytest.approx(0.02 * 6 / 2)

"""The gradients of JumpReLU: activations exactly, thresholds by the straight-through estimates of its paper."""

from __future__ import annotations

import pytest
import torch
from dense_reference import check, check_differs, check_extremes, random_weights, tokens

from universality.sae.architectures.jumprelu import JumpReLU

WAYS = ["sparse", "torch", "dense"]


@pytest.mark.parametrize("pre_bias", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_gradients_equal_autograd_on_the_dense_formulation(way: str, pre_bias: bool) -> None:
    check(JumpReLU(0.03, bandwidth=0.4), way, random_weights(threshold=True), tokens(), pre_bias)


@pytest.mark.parametrize("way", ["sparse", "torch"])
def test_gradients_where_nothing_fires_and_where_all_does(way: str) -> None:
    check_extremes(JumpReLU(0.03, bandwidth=0.4), way)


def test_another_penalty_or_window_has_other_threshold_gradients() -> None:
    check_differs(JumpReLU(0.03), JumpReLU(0.04), "log_threshold")
    check_differs(JumpReLU(0.03), JumpReLU(0.03, bandwidth=0.2), "log_threshold")


def test_the_gradient_of_the_threshold_is_the_papers_by_hand() -> None:
    """One token, θ = 1, ε = 0.5: only pre-activations in (0.75, 1.25) move the threshold."""
    pre, grad = torch.tensor([[0.7, 0.8, 1.2, 1.3]]), torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    of_pre, of_log_threshold = JumpReLU(0.1, bandwidth=0.5).backward(pre, grad, torch.ones(4), n_tokens=1)
    assert of_pre.tolist() == [[0.0, 0.0, 3.0, 4.0]]
    assert of_log_threshold is not None
    # −(θ/ε) · grad − (1/ε) · l0, times ∂θ/∂(log θ) = 1
    assert of_log_threshold[0].tolist() == pytest.approx([0.0, -(2.0 + 0.1) / 0.5, -(3.0 + 0.1) / 0.5, 0.0])


def test_silent_features_in_the_window_are_selected_in_training_only() -> None:
    architecture, threshold = JumpReLU(0.1, bandwidth=0.5), torch.ones(3)
    assert architecture.training(threshold, 1).floor.tolist() == [0.75] * 3
    assert architecture.inference(threshold).floor.tolist() == [1.0] * 3
    assert architecture.activate(torch.tensor([[0.9, 1.0, 1.1]]), threshold)[0].tolist() == pytest.approx([0, 0, 1.1])

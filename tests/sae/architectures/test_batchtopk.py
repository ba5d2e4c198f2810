"""The gradients of BatchTopK, and the threshold that stands in for the batch once trained."""

from __future__ import annotations

import pytest
import torch
from dense_reference import check, check_extremes, random_weights, tokens

from universality.sae.architectures.batchtopk import BatchTopK, RunningThreshold

WAYS = ["sparse", "torch"]
CASES = [BatchTopK(5, aux_weight=0.5), BatchTopK(5, aux_k=1, aux_weight=0.5)]


@pytest.mark.parametrize("pre_bias", [True, False])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("architecture", CASES, ids=str)
def test_gradients_equal_autograd_on_the_dense_formulation(architecture: BatchTopK, way: str, pre_bias: bool) -> None:
    step = check(architecture, way, random_weights(), tokens(), pre_bias)
    assert float(step.auxiliary) > 0


@pytest.mark.parametrize("way", ["sparse", "torch"])
@pytest.mark.parametrize("architecture", CASES, ids=str)
def test_gradients_where_nothing_fires_and_where_all_does(architecture: BatchTopK, way: str) -> None:
    check_extremes(architecture, way)


def test_the_running_threshold_weighs_the_latest_most() -> None:
    threshold = RunningThreshold(torch.device("cpu"))
    assert threshold.value == 0
    values = [3.0, 5.0, 1.0]
    for value in values:
        threshold.add(value)
    weights = [0.9**2, 0.9, 1]
    assert threshold.value == pytest.approx(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))


def test_a_batch_decides_in_training_and_the_threshold_once_trained() -> None:
    threshold = torch.tensor([0.4, 0.4])
    assert BatchTopK(3).training(None, 7).total == 21
    assert BatchTopK(3).inference(threshold).floor is threshold

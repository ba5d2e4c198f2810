"""The gradients of TopK, with and without the auxiliary loss."""

from __future__ import annotations

import pytest
from dense_reference import check, check_differs, check_extremes, random_weights, tokens

from universality.sae.architectures.batchtopk import BatchTopK
from universality.sae.architectures.topk import TopK

WAYS = ["sparse", "torch"]
CASES = [
    TopK(5, aux_weight=0.0),
    TopK(5, aux_weight=0.5),
    TopK(5, aux_k=3, aux_weight=0.5),  # fewer than the dead features: chosen among them
    TopK(5, aux_k=1, aux_weight=0.5),  # so few that sparse products are used
]


@pytest.mark.parametrize("pre_bias", [True, False])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("architecture", CASES, ids=str)
def test_gradients_equal_autograd_on_the_dense_formulation(architecture: TopK, way: str, pre_bias: bool) -> None:
    step = check(architecture, way, random_weights(), tokens(), pre_bias)
    assert (float(step.auxiliary) > 0) == (architecture.aux_weight > 0)


@pytest.mark.parametrize("way", ["sparse", "torch"])
@pytest.mark.parametrize("architecture", CASES, ids=str)
def test_gradients_where_nothing_fires_and_where_all_does(architecture: TopK, way: str) -> None:
    check_extremes(architecture, way)


def test_others_have_other_gradients() -> None:
    for wrong in (TopK(6, aux_weight=0.0), TopK(5, aux_weight=0.5), BatchTopK(5, aux_weight=0.0)):
        check_differs(TopK(5, aux_weight=0.0), wrong)

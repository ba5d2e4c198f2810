"""The gradients of Matryoshka, whose prefixes reconstruct on their own."""

from __future__ import annotations

import pytest
from dense_reference import check, check_differs, check_extremes, random_weights, tokens

from universality.sae.architectures.batchtopk import BatchTopK
from universality.sae.architectures.matryoshka import Matryoshka

WAYS = ["sparse", "torch"]
CASES = [
    Matryoshka(5, aux_weight=0.0, nested=(20, 64, 280)),
    Matryoshka(5, aux_k=3, aux_weight=0.5, nested=(101,)),
]


@pytest.mark.parametrize("pre_bias", [True, False])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("architecture", CASES, ids=str)
def test_gradients_equal_autograd_on_the_dense_formulation(architecture: Matryoshka, way: str, pre_bias: bool) -> None:
    step = check(architecture, way, random_weights(), tokens(), pre_bias)
    assert (float(step.auxiliary) > 0) == (architecture.aux_weight > 0)


@pytest.mark.parametrize("way", ["sparse", "torch"])
@pytest.mark.parametrize("architecture", CASES, ids=str)
def test_gradients_where_nothing_fires_and_where_all_does(architecture: Matryoshka, way: str) -> None:
    check_extremes(architecture, way)


def test_other_prefixes_have_other_gradients() -> None:
    check_differs(Matryoshka(5, nested=(20,)), Matryoshka(5, nested=(21,)))
    check_differs(Matryoshka(5, nested=(20,)), BatchTopK(5))


def test_the_last_prefix_is_the_whole_dictionary() -> None:
    assert Matryoshka(5, nested=(20, 64)).prefixes(100) == (20, 64, 100)

"""The rule's limits, and the weight of an edge."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.family import EdgeRule
from universality.family.edge_rule import edge_weight


def test_weight_needs_both_cosines() -> None:
    assert_allclose(edge_weight(np.array([0.25, 1, -0.5, 0]), np.array([1, 0.49, 1, 1])), [0.5, 0.7, 0, 0])


@pytest.mark.parametrize("name", ["min_decoder_cosine", "min_masked_cosine"])
@pytest.mark.parametrize("value", [1.5, -1.01, float("nan")])
def test_thresholds_are_cosines(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be (finite|at least -1 and at most 1), found"):
        EdgeRule(**{name: value})


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan")])
def test_coverage_is_a_share(value: float) -> None:
    with pytest.raises(ValueError, match=r"min_coverage must be (finite|at least 0 and at most 1), found"):
        EdgeRule(min_coverage=value)


@pytest.mark.parametrize("value", [1.5, float("-inf"), float("nan")])
def test_what_a_child_makes_up_for_is_a_share(value: float) -> None:
    with pytest.raises(ValueError, match=r"min_recovered must be (finite|at most 1), found"):
        EdgeRule(min_recovered=value)


def test_a_feature_that_never_fires_has_no_edges() -> None:
    with pytest.raises(ValueError, match="min_firings must be at least 1, found 0"):
        EdgeRule(min_firings=0)

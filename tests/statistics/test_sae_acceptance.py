"""Which SAEs are not good enough to match."""

import math

import pytest

from universality.statistics.sae_acceptance import faults

GOOD = {"width": 1024, "explained_variance": 0.85, "l0": 32.0, "dead_share": 0.02, "loss_recovered": 0.95}


def test_a_good_sae_has_no_fault_and_what_was_not_measured_is_none() -> None:
    assert faults(**GOOD) == ()
    assert faults(**GOOD | {"loss_recovered": math.nan, "explained_variance": math.nan}) == ()


@pytest.mark.parametrize(
    ("changed", "measure", "text"),
    [
        ({"explained_variance": 0.69}, "explained_variance", "explained variance 0.69, expected at least 0.7"),
        ({"loss_recovered": 0.5}, "loss_recovered", "recovers 50% of the model's loss, expected at least 79%"),
        ({"dead_share": 0.5}, "dead_share", "50% dead features, expected at most 20%"),
        ({"l0": 0.5}, "l0", "L0 0.5, expected at least 1"),
        ({"l0": 300.0}, "density", "L0 300 of 1,024 features, expected at most 10% of them"),
    ],
)
def test_each_shortcoming_is_one_fault(changed, measure: str, text: str) -> None:
    (fault,) = faults(**GOOD | changed)
    assert (fault.measure, fault.text) == (measure, text)
    assert fault.value == next(iter(changed.values()))


def test_faults_add_up() -> None:
    assert [fault.measure for fault in faults(**GOOD | {"dead_share": 0.9, "l0": 0.1})] == ["dead_share", "l0"]

"""Populations come from calibrations, scores and names alike, and each has a look of its own."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from universality.errors import UniversalityError
from universality.plot.populations import LOOK, looks, populations_of
from universality.statistics import Calibration


def test_a_calibration_is_features_ceilings_and_null(calibration: Calibration) -> None:
    known = replace(calibration, ceiling_a=np.full(calibration.held_out.size, 0.9))
    features, ceiling, null = populations_of(known, None, "mine", "ecdf")
    assert (features.role, features.label) == ("features", "mine")
    assert_array_equal(features.values, calibration.held_out)
    assert features.without == calibration.match.n_without_partner
    assert (ceiling.role, ceiling.label, set(ceiling.values)) == ("ceiling", "ceilings of the matched rows", {0.9})
    assert (null.role, null.without) == ("null", 0)


def test_several_models_are_named_calibrations(calibration: Calibration) -> None:
    first, second = populations_of({"A and B": calibration, "A and C": [0.5]}, None, "x", "ecdf")
    assert [first.label, second.label] == ["A and B", "A and C"]
    assert_array_equal(first.values, calibration.held_out)
    assert first.without == calibration.match.n_without_partner
    assert_array_equal(second.values, [0.5])


def test_known_roles_look_as_in_a_report_and_others_differ() -> None:
    found = looks(["features", "one", "two", "null"])
    assert (found[0], found[3]) == (LOOK["features"], LOOK["null"])
    assert found[1] != found[2]
    assert len(looks(["other"] * 20)) == 20


def test_an_error_names_the_figure(calibration: Calibration) -> None:
    with pytest.raises(UniversalityError, match=r"^coverage: ceilings belong to a calibration"):
        populations_of([0.1], {"c": calibration}, "x", "coverage")
    with pytest.raises(UniversalityError, match=r"^coverage: expected a calibration, scores \[n\], or name → scores"):
        populations_of({"a": ["b"]}, None, "x", "coverage")

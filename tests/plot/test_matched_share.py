"""Coverage is the mean r of the best-matched share."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from universality import plot
from universality.errors import UniversalityError
from universality.plot.matched_share import CoverageCurve
from universality.plot.populations import Scored
from universality.statistics import Calibration


def test_the_curve_is_the_mean_of_the_best() -> None:
    curve = CoverageCurve.of(Scored("features", "x", np.array([0.2, 0.8, np.nan]), without=1))
    assert_allclose(curve.share, [0.25, 0.5])
    assert_allclose(curve.quality, [0.8, 0.5])
    assert np.isnan(curve.at(0.9))


def test_a_calibration_has_its_pairs_and_no_null(calibration: Calibration) -> None:
    axes = Figure().subplots()
    assert plot.coverage(calibration, label="mine", ax=axes) is axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["mine"]
    scored = calibration.held_out[~np.isnan(calibration.held_out)]
    n = calibration.held_out.size + calibration.match.n_without_partner
    assert_allclose(np.asarray(axes.lines[0].get_xydata())[-1], [scored.size / n, scored.mean()])


def test_nothing_and_what_are_no_scores() -> None:
    assert plot.coverage([np.nan]).texts[0].get_text() == "no pairs"
    with pytest.raises(UniversalityError, match=r"^coverage: expected a calibration"):
        plot.coverage({"x": object()})

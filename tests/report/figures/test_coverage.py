"""Quality against coverage."""

import numpy as np

from universality.report import sample
from universality.report.figures.coverage import coverage_curve


def test_coverage_is_the_mean_of_the_best() -> None:
    curve = coverage_curve(sample("features", "x", [0.2, 0.8, np.nan], without=1))
    np.testing.assert_allclose(curve.share, [0.25, 0.5])
    np.testing.assert_allclose(curve.quality, [0.8, 0.5])
    assert np.isnan(curve.at(0.9))

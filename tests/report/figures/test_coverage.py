"""Quality against coverage."""

import numpy as np

from universality.plot.matched_share import CoverageCurve
from universality.report import figures, sample


def test_a_line_ends_at_the_share_that_was_scored() -> None:
    curves = [CoverageCurve.of(sample("features", "x", [0.2, 0.8, np.nan], without=1))]
    figure = figures.quality_against_coverage(curves)
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xydata(), [[0.25, 0.8], [0.5, 0.5]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["x"]
    assert "At half of the features: x 0.50." in figures.describe_coverage(curves).alt
    assert not figures.quality_against_coverage([]).legends

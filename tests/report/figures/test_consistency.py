"""Similarity by frequency."""

import numpy as np

from universality.plot.median_by_firings import FrequencySample
from universality.report import figures


def test_medians_by_firings_and_their_ends_in_words() -> None:
    firings = np.repeat([30.0, 3000.0], 20)
    samples = [
        FrequencySample("features", "x", firings, np.repeat([0.2, 0.8], 20)),
        FrequencySample("ceiling", "few", firings[:5], np.ones(5)),
    ]
    figure = figures.consistency_by_frequency(samples)
    assert [line.get_ydata().tolist() for line in figure.axes[0].lines[1:]] == [[0.2, 0.8]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["x"]
    said = figures.describe_consistency(samples).alt
    assert "x: 0.20 at about 24 firings, 0.80 at about 2,371 firings." in said
    assert "too few pairs" in [text.get_text() for text in figures.consistency_by_frequency(samples[1:]).axes[0].texts]

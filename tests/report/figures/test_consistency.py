"""Similarity by frequency."""

import numpy as np

from universality.report.figures.consistency import FrequencySample


def test_quartiles_by_frequency_find_the_planted_rise() -> None:
    draw_ = np.random.default_rng(0)
    firings = 10 ** draw_.uniform(1, 4, 4000)
    found = FrequencySample("features", "x", firings, np.log10(firings) / 4 + draw_.normal(0, 0.01, 4000)).quartiles()
    np.testing.assert_allclose(found[:, 2], np.log10(found[:, 0]) / 4, atol=0.02)
    shuffled = FrequencySample("features", "x", draw_.permutation(firings), np.log10(firings) / 4).quartiles()
    assert np.ptp(shuffled[:, 2]) < 0.2

"""Medians of the features that have a score, and of all features."""

from __future__ import annotations

import numpy as np
import pytest

from universality.matching.medians import known_median, median_of_all, quantile_of_all


def test_features_without_a_score_rank_below_every_score() -> None:
    scores = np.array([0.4, np.nan, 0.8, 0.6])
    assert known_median(scores) == 0.6
    assert median_of_all(scores, 4) == pytest.approx(np.median([-1, 0.4, 0.6, 0.8]))
    assert np.isnan(median_of_all(scores, 6))  # half of them have none
    assert median_of_all(np.append(scores, -np.inf), 5) == 0.4
    assert np.isnan([known_median(np.array([np.nan])), median_of_all(np.zeros(0), 3)]).all()


@pytest.mark.parametrize("level", [0.5, 0.77, 1.0])
def test_quantiles_equal_numpys_where_the_missing_are_very_low(level: float) -> None:
    scores = np.random.default_rng(0).random(31)
    filled = np.concatenate([scores, np.full(9, -1e-300)])
    assert quantile_of_all(scores, 40, level) == pytest.approx(np.quantile(filled, level))

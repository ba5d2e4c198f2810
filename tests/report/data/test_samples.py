"""Numbers of samples."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.report import sample


def test_population_counts_those_without_a_partner_in_every_share() -> None:
    found = sample("features", "x", [0.8, 0.6, 0.2, np.nan], without=6).population()
    assert (found.n, found.n_scored, found.n_without, found.unknown) == (10, 3, 6, 0.1)
    assert_allclose(found.shares, (0.2, 0.1))
    assert np.isnan(found.median)
    assert_allclose(found.quantile_95, 0.71)


def test_a_median_is_of_all_that_are_counted() -> None:
    scores = np.linspace(0.0, 1.0, 61)
    found = sample("features", "x", [*scores, *[np.nan] * 10], without=10).population()
    assert_allclose(found.median, np.median([*scores, *[-1] * 20]))
    assert_allclose(found.shares[0], (scores >= 0.5).sum() / 81)
    assert found.low < found.median < found.high
    assert np.isnan(sample("features", "x", [*scores, *[np.nan] * 55]).population().low)  # an end is among the unscored


def test_an_empty_sample_has_no_numbers() -> None:
    found = sample("null", "x", []).population()
    assert (found.n, found.n_scored) == (0, 0)
    assert np.isnan([found.median, found.low, found.high, found.quantile_95, *found.shares]).all()
    assert sample("null", "x", [], without=3).population().shares == (0.0, 0.0)


def test_the_medians_interval_covers_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        found = sample("features", "x", draw.exponential(size=101)).population()
        hits += found.low <= np.log(2) <= found.high
    assert 0.92 <= hits / 400 <= 0.985


@pytest.mark.parametrize("n", [1, 2, 7])
def test_few_values_have_no_interval(n: int) -> None:
    found = sample("features", "x", np.arange(n)).population()
    assert np.isnan(found.low)
    assert found.median == (n - 1) / 2

"""Balanced accuracy and its interval over works."""

import numpy as np
import pytest
from scipy.stats import binomtest

from universality.labels.accuracy import balanced_accuracy, weighted_share

NAN = float("nan")


def test_the_mean_of_two_shares() -> None:
    truth = np.array([True] * 4 + [False] * 6)
    guess = np.array([1, 1, 1, 0, 0, 0, 0, 1, 1, NAN])
    value, low, high = balanced_accuracy(guess, truth, np.arange(10))
    assert value == pytest.approx((3 / 4 + 3 / 5) / 2)
    assert low < value < high


def test_chance_gives_a_half_whatever_the_classes() -> None:
    truth = np.arange(1000) < 900
    assert balanced_accuracy(np.ones(1000), truth, np.arange(1000))[0] == 0.5
    assert balanced_accuracy(np.zeros(1000), truth, np.arange(1000))[0] == 0.5


def test_one_share_alone_is_wilsons_interval() -> None:
    """Both classes with the same share and number: the interval is Wilson's, narrower by the root of two."""
    correct = np.arange(40) % 20 < 14
    truth = np.arange(40) < 20
    guess = np.where(truth, correct, ~correct).astype(float)
    value, low, high = balanced_accuracy(guess, truth, np.arange(40))
    assert value == pytest.approx(0.7)
    # Wilson's interval of 14 in 20, by the closed form
    wilson_low, wilson_high = 0.4810, 0.8545
    assert value - low == pytest.approx((0.7 - wilson_low) / np.sqrt(2), abs=1e-4)
    assert high - value == pytest.approx((wilson_high - 0.7) / np.sqrt(2), abs=1e-4)


def test_items_of_one_work_count_less() -> None:
    rng = np.random.default_rng(0)
    work = np.repeat(np.arange(10), 10)
    truth = np.tile([True, False], 50)
    right = rng.random(10)[work] < 0.5  # whole works are judged rightly or wrongly
    guess = np.where(right, truth, ~truth).astype(float)
    _, low, high = balanced_accuracy(guess, truth, work)
    _, low_independent, high_independent = balanced_accuracy(guess, truth, np.arange(100))
    assert high - low > 1.8 * (high_independent - low_independent)


def test_a_perfect_score_from_one_work_says_little() -> None:
    truth = np.tile([True, False], 20)
    value, low, _ = balanced_accuracy(truth.astype(float), truth, np.zeros(40))
    assert value == 1
    assert np.isnan(low)
    _, low_two, _ = balanced_accuracy(truth.astype(float), truth, np.arange(40) // 20)
    _, low_all, _ = balanced_accuracy(truth.astype(float), truth, np.arange(40))
    assert low_two < 0.6 < low_all


def test_no_score_without_both_classes() -> None:
    assert np.isnan(balanced_accuracy(np.ones(3), np.ones(3, bool), np.arange(3))).all()
    assert np.isnan(balanced_accuracy(np.full(3, NAN), np.array([True, False, True]), np.arange(3))).all()


@pytest.mark.parametrize(("p", "clustered"), [(0.9, False), (0.6, False), (0.75, True)])
def test_intervals_cover(p: float, clustered: bool) -> None:
    """At least nine in ten intervals at 95% hold the truth, also where a work's items are judged alike."""
    rng = np.random.default_rng(1)
    work = np.arange(60) // 3 if clustered else np.arange(60)
    truth = rng.permutation(60) < 30
    hits = 0
    for _ in range(300):
        right = (rng.random(60)[work] if clustered else rng.random(60)) < p
        _, low, high = balanced_accuracy(np.where(right, truth, ~truth).astype(float), truth, work)
        hits += low <= p <= high
    assert hits / 300 > 0.9


def test_a_weighted_share_with_equal_weights_is_wilsons() -> None:
    correct = np.arange(40) % 10 < 7
    wilson = binomtest(28, 40).proportion_ci(method="wilson")
    for weight in (1.0, 0.3):
        assert weighted_share(correct, np.full(40, weight), np.arange(40)) == pytest.approx(
            (0.7, wilson.low, wilson.high)
        )
    p, low, high = weighted_share(correct, np.ones(40), np.arange(40) // 10)
    assert (p, low) == (0.7, pytest.approx(wilson.low))  # works that do not differ add nothing
    assert high == pytest.approx(wilson.high)
    assert np.isnan(weighted_share(correct[:0], np.ones(0), np.zeros(0))).all()


@pytest.mark.parametrize("clustered", [False, True])
def test_weighted_intervals_cover(clustered: bool) -> None:
    """Strata of unequal weight, each with its own share."""
    rng = np.random.default_rng(2)
    stratum, work = np.repeat(np.arange(6), 10), np.tile(np.arange(20), 3) if clustered else np.arange(60)
    weight, p = np.array([8, 4, 2, 1, 1, 1.0])[stratum], np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.9])[stratum]
    truth, hits = np.average(p, weights=weight), 0
    for _ in range(400):
        drawn = rng.random(20)[work] if clustered else rng.random(60)
        found, low, high = weighted_share(drawn < p, weight, work)
        assert low <= found <= high
        hits += low <= truth <= high
    assert hits / 400 > 0.91

"""The loss at equal r: intervals cover, planted deficits are found, and none is found where there is none."""

import math

import numpy as np
import pytest

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.labels.loss_given_r import loss_given_r, partial_correlation

World = tuple[FloatArray, FloatArray, FloatArray, BoolArray, IntArray]


def planted(seed: int, n: int, deficit: float = 0.0, curved: bool = True, other: float = 0.0) -> World:
    """Each feature of A has a partner, a second seed of higher r and three non-partners of lower r.

    The loss depends on r and on the feature's own score, and features differ in what all their pairs share.
    """
    rng = np.random.default_rng([seed, n])
    own, shared, quality = np.clip(rng.normal(0.7, 0.2, n), 0, 1), rng.normal(0, 0.05, n), rng.random(n)
    of_partner = 0.3 + 0.6 * quality
    of_second = np.clip(0.45 + 0.6 * quality + rng.normal(0, 0.05, n), 0, 1)
    of_others = rng.random((3, n)) * 0.6 * (0.4 + quality)
    r = np.concatenate([of_partner, of_second, *of_others])
    is_partner, cluster = np.arange(5 * n) < n, np.tile(np.arange(n), 5)
    loss = np.tile(own, 5) * (1 - r) ** (2 if curved else 1) + np.tile(shared, 5) + rng.normal(0, 0.1, 5 * n)
    return loss + deficit * is_partner + other * ~is_partner, r, np.tile(own, 5), is_partner, cluster


@pytest.mark.parametrize(("n", "curved", "deficit"), [(25, False, 0.0), (60, True, 0.1), (60, True, 0.0)])
def test_intervals_cover_and_find(n: int, curved: bool, deficit: float) -> None:
    found = [loss_given_r(*planted(seed, n, deficit, curved), draws=200) for seed in range(120)]
    assert np.mean([one.difference for one in found]) == pytest.approx(deficit, abs=0.01)
    covered = np.mean([one.low <= deficit <= one.high for one in found])
    assert 0.88 <= covered <= 1  # 0.95 minus three standard errors
    positive = np.mean([one.low > 0 for one in found])
    assert positive > 0.95 if deficit else positive < 0.075


def test_a_loss_that_r_explains_is_not_a_deficit() -> None:
    """The control: without regard to r, partners would lose far less than other pairs."""
    loss, r, own, is_partner, cluster = planted(0, 200)
    assert loss[~is_partner].mean() - loss[is_partner].mean() > 0.04
    found = loss_given_r(loss, r, own, is_partner, cluster)
    assert abs(found.difference) < 0.02
    assert found.high - found.low < 0.05
    assert found.difference == found.partners - found.controls


def test_the_own_score_is_held_equal() -> None:
    """Explanations that say nothing lose nothing; controls that belong to them must not pass for a gain."""
    rng = np.random.default_rng(0)
    n = 400
    own = np.where(np.arange(n) < n // 2, 0.9, 0.1)
    is_partner = rng.random(n) < np.where(own > 0.5, 0.8, 0.2)
    r = rng.uniform(0.3, 0.9, n)
    loss = own * (1 - r) + rng.normal(0, 0.02, n)
    found = loss_given_r(loss, r, own, is_partner, np.arange(n))
    assert abs(found.difference) < 0.01
    assert loss[is_partner].mean() - loss[~is_partner].mean() > 0.1


def test_nothing_is_extrapolated() -> None:
    loss, r, own, is_partner, cluster = planted(1, 100)
    apart = np.where(is_partner, 0.8 + 0.15 * r, 0.3 * r)
    found = loss_given_r(loss, apart, own, is_partner, cluster)
    assert (found.n_partners, found.n_outside) == (0, 100)
    assert math.isnan(found.difference)
    half = is_partner & (r > np.median(r[is_partner]))
    some = loss_given_r(loss, np.where(half, 1.5, r), own, is_partner, cluster)
    assert some.n_outside == half.sum()
    assert some.n_partners == 100 - half.sum()
    assert abs(some.difference) < 0.05


def test_few_features_have_no_interval() -> None:
    found = loss_given_r(*planted(2, 15))
    assert math.isfinite(found.difference)
    assert math.isnan(found.low)
    nothing = loss_given_r(*(x[:0] for x in planted(2, 15)))  # type: ignore[arg-type]
    assert (nothing.n_partners, nothing.n_controls) == (0, 0)


def test_missing_numbers_are_left_out() -> None:
    loss, r, own, is_partner, cluster = planted(3, 100)
    missing = np.arange(loss.size) % 7 == 0
    with_nan = np.where(missing, np.nan, loss)
    kept = ~missing
    assert loss_given_r(with_nan, r, own, is_partner, cluster) == loss_given_r(
        loss[kept], r[kept], own[kept], is_partner[kept], cluster[kept]
    )


def test_equal_own_scores_need_no_column() -> None:
    loss, r, own, is_partner, cluster = planted(4, 100, deficit=0.1)
    found = loss_given_r(loss - (own - 1) * (1 - r) ** 2, r, np.ones(r.size), is_partner, cluster)
    assert found.low < 0.1 < found.high


def test_partial_correlation_is_that_of_residuals() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=200)
    x, y = z + rng.normal(size=200), z + rng.normal(size=200) - 0.5 * rng.normal(size=200)
    n, r, low, high = partial_correlation(x, y, [z], np.arange(200))
    design = np.column_stack([np.ones(200), z])
    left = [v - design @ np.linalg.lstsq(design, v)[0] for v in (x, y)]
    assert n == 200
    assert r == pytest.approx(np.corrcoef(*left)[0, 1])
    assert low < r < high
    assert partial_correlation(x, y, [], np.arange(200))[1] == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_partial_correlation_covers() -> None:
    covered = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=60)
        x, y = z + rng.normal(size=60), z + rng.normal(size=60)
        _, _, low, high = partial_correlation(x, y, [z], np.arange(60), draws=200, seed=seed)
        covered.append(low < 0 < high)
    assert 0.88 <= np.mean(covered) <= 1


def test_partial_correlation_of_nothing() -> None:
    ones = np.ones(30)
    n, *rest = partial_correlation(ones, np.arange(30.0), [], np.arange(30))
    assert n == 30
    assert np.isnan(rest).all()
    assert partial_correlation(ones * np.nan, ones, [], np.arange(30))[0] == 0


def test_partial_correlation_of_what_is_given_is_unknown() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 50))
    assert partial_correlation(x, -x, [], np.arange(50))[1] == pytest.approx(-1)
    n, *rest = partial_correlation(2 * x + 1, y, [x], np.arange(50))
    assert n == 50
    assert np.isnan(rest).all()

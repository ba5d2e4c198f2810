"""Intervals of ratios cover the truth as often as they say, and no others do."""

import numpy as np
import pytest

from universality.errors import MismatchError
from universality.statistics.ratio_intervals import ratio_intervals


@pytest.mark.parametrize("n_groups", [8, 60])
def test_intervals_cover_the_ratio(n_groups: int) -> None:
    rng = np.random.default_rng(0)
    weight = rng.gamma(2, 1, (400, n_groups))
    top = weight * rng.normal(0.7, 0.4, (400, n_groups))
    ratio, low, high = ratio_intervals(top, weight)
    np.testing.assert_allclose(ratio, top.sum(axis=1) / weight.sum(axis=1))
    assert 0.92 <= np.mean((low < 0.7) & (high > 0.7)) <= 0.99
    another = 0.7 + 4 / np.sqrt(n_groups)
    assert np.mean((low < another) & (high > another)) < 0.1


def test_pairs_share_their_draws() -> None:
    rng = np.random.default_rng(1)
    common = rng.normal(0, 5, 50)
    one, other = common + rng.normal(1, 0.1, 50), common + rng.normal(0, 0.1, 50)
    weight = np.ones(50)
    _, low, high = ratio_intervals([one, other, one - other], weight)
    assert low[2] > 0.9
    assert (high - low)[2] < 0.1 * (high - low)[0]


def test_what_has_no_interval() -> None:
    equal = np.arange(1.0, 7)
    ratio, low, high = ratio_intervals([equal, 0 * equal], [equal, 0 * equal])
    assert (ratio[0], low[0], high[0]) == pytest.approx((1, 1, 1))
    assert np.isnan([ratio[1], low[1], high[1]]).all()
    ratio, low, high = ratio_intervals([[1.0, 2, 3, 0, 0]], [[2.0, 2, 2, 0, 0]])  # three groups
    assert ratio == pytest.approx(1)
    assert np.isnan([low, high]).all()
    with pytest.raises(MismatchError, match=r"expected sums \[n, n_groups\]"):
        ratio_intervals([1.0, 2.0], [1.0, 2.0])

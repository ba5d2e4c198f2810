"""A model's features form the groups that their directions form."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from universality.errors import UniversalityError
from universality.maps import feature_map


def bundles(n: int = 3, each: int = 25) -> np.ndarray:
    return np.repeat(np.eye(n, 6), each, axis=0) + 0.1 * np.random.default_rng(0).normal(size=(n * each, 6))


def test_bundles_are_clusters_and_the_map_is_trusted() -> None:
    made = feature_map(bundles(), n_neighbours=8)
    assert made.trust.value > 0.85
    for k in range(3):
        members = made.cluster[25 * k : 25 * (k + 1)]
        assert (members == np.bincount(members[members >= 0]).argmax()).mean() > 0.8
    assert len(set(made.cluster[[0, 25, 50]])) == 3


def test_dead_features_are_not_placed_and_length_does_not_matter() -> None:
    rows, alive = bundles(), np.ones(75, bool)
    alive[4] = False
    made = feature_map(rows, alive)
    assert np.isnan(made.xy[4]).all()
    assert len(made.to_frame()) == 74
    scaled = feature_map(rows * np.where(np.arange(75) % 2, 4.0, 0.5)[:, None], alive)
    assert_array_equal(scaled.xy, made.xy)  # powers of two change no digit


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UniversalityError, match="n_neighbours"):
        feature_map(bundles(), n_neighbours=0)

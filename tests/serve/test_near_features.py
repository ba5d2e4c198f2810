"""Neighbours are those of all cosines."""

import numpy as np
import pytest

from universality.errors import UniversalityError
from universality.serve.live_run import LiveComparison
from universality.serve.near_features import NEIGHBOURS, near_features


def test_neighbours_are_those_of_all_cosines(live: LiveComparison) -> None:
    store = live.sides[0].described.store
    decoder = store.decoder_rows().astype(float)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    feature = int(live.compared.calibration.match.rows[0])
    cosine = decoder @ decoder[feature]
    cosine[~store.alive] = -2
    cosine[feature] = -2
    nearest = near_features(live, 0, feature)["nearest"]
    assert [one["feature"] for one in nearest] == np.argsort(-cosine, kind="stable")[:NEIGHBOURS].tolist()
    assert [one["cosine"] for one in nearest] == pytest.approx(np.sort(cosine)[::-1][:NEIGHBOURS], abs=1e-4)


def test_a_feature_that_is_not_there_is_refused(live: LiveComparison) -> None:
    with pytest.raises(UniversalityError, match="feature 128: A, 128 wide, has features 0 to 127"):
        near_features(live, 0, 128)

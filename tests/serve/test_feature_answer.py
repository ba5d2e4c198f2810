"""The page of a feature shows what the report's page of its pair shows, and its true neighbours."""

import sys
from pathlib import Path

import numpy as np
import pytest

from universality.errors import UniversalityError
from universality.serve.feature_answer import NEIGHBOURS, feature_answer
from universality.serve.live_run import LiveRun

sys.path.append(str(Path(__file__).parents[1] / "report"))


def test_neighbours_are_those_of_all_cosines(live: LiveRun) -> None:
    store = live.sides[0].described.store
    decoder = store.decoder_rows().astype(float)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    feature = int(live.compared.calibration.match.rows[0])
    cosine = decoder @ decoder[feature]
    cosine[~store.alive] = -2
    cosine[feature] = -2
    nearest = feature_answer(live, 0, feature)["nearest"]
    assert [one["feature"] for one in nearest] == np.argsort(-cosine, kind="stable")[:NEIGHBOURS].tolist()
    assert [one["cosine"] for one in nearest] == pytest.approx(np.sort(cosine)[::-1][:NEIGHBOURS], abs=1e-4)


@pytest.mark.parametrize("which", [0, 1])
def test_a_matched_feature_is_shown_as_on_the_page_of_its_pair(live: LiveRun, which: int) -> None:
    from planted_run import read_data

    page = live.folder.report
    views, words = read_data(page, "views-0"), read_data(page, "words")
    pair = 5
    answer = feature_answer(live, which, live.pairs(np.asarray([pair]))[0]["features"][which])
    ours, theirs = answer["view"], views[pair]["ab"[which]]
    assert answer["pair"]["pair"] == pair
    for name in ("density", "purity", "strongest", "histogram", "near"):
        assert ours[name] == theirs[name]
    for name in ("up", "down"):
        assert [[answer["words"][w], x] for w, x in ours[name]] == [[words[w], x] for w, x in theirs[name]]
    for name in ("top", "range"):
        assert len(ours[name]) == len(theirs[name])
        for one, other in zip(ours[name], theirs[name], strict=True):
            assert [answer["words"][place] for place in one[0]] == [words[place] for place in other[0]]
            assert one[1:] == other[1:]


def test_features_without_a_partner_and_silent_ones_are_shown(live: LiveRun) -> None:
    side = live.sides[0]
    alone = np.flatnonzero(side.pair_of < 0)
    assert len(alone)
    answers = [feature_answer(live, 0, int(feature)) for feature in alone[:3]]
    assert all(answer["pair"] is None for answer in answers)
    dead = np.flatnonzero(~side.described.store.alive)
    if len(dead):
        assert feature_answer(live, 0, int(dead[0]))["view"]["strongest"] is None


def test_a_feature_that_is_not_there_is_refused(live: LiveRun) -> None:
    with pytest.raises(UniversalityError, match="feature 128: A, 128 wide, has features 0 to 127"):
        feature_answer(live, 0, 128)

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from universality.errors import MismatchError, UniversalityError
from universality.matching import match
from universality.similarity import Similarity
from universality.statistics import evaluation_halves, partner_overlap
from universality.statistics.synthetic import World
from universality.statistics.synthetic_effects import EffectWorld, plant_effects

WORLD = World(n_documents=60, blocks=2, n_shared=60, n_alone=0, density=(0.02, 0.05), topic_share=0.6)


def test_partners_by_effect_are_the_partners_by_activation_where_effects_are_equal(tmp_path: Path) -> None:
    _, inputs = plant_effects(WORLD, EffectWorld("equal"), tmp_path)
    halves = evaluation_halves(inputs.a)
    by_activation = match(Similarity.activation(inputs.a, inputs.b, documents=halves.choose))
    by_effect = match(Similarity.activation(inputs.effects_a, inputs.effects_b, documents=halves.choose))
    report = Similarity.activation(inputs.a, inputs.b, documents=halves.report)
    result = partner_overlap(by_activation, by_effect, report)
    summary = result.summary()
    assert summary["n_both"] == 60
    assert summary["share_same"] > 0.9
    assert summary["chance"] < 0.05
    frame = result.to_frame()
    assert_array_equal(frame["r"], report.pairs(frame["row"], frame["col"]))
    # the control: partners that are shuffled coincide as often as chance says
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        shuffled = match(Similarity.from_dense(np.eye(60)[rng.permutation(60)]))
        shares.append(partner_overlap(by_activation, shuffled, report).summary()["share_same"])
    assert abs(np.mean(shares) - 1 / 60) < 0.005
    assert summary["other_r"] > 0.5


def test_chance_counts_the_features_that_fire_about_as_often() -> None:
    from universality.statistics.overlapping_matchings import _by_exchange

    count = np.repeat([10, 1000], 64)
    partner = np.arange(128)
    assert_array_equal(_by_exchange(partner, partner, count), np.full(128, 1 / 64))
    # partners of features that fire much more often are never exchanged
    assert_array_equal(_by_exchange(np.roll(partner, 64), partner, count), np.zeros(128))
    assert _by_exchange(partner[:0], partner[:0], count[:0]).size == 0


def test_matchings_of_other_dictionaries_are_refused(tmp_path: Path) -> None:
    two, three = (match(Similarity.from_dense(np.eye(n))) for n in (2, 3))
    with pytest.raises(MismatchError, match="the second matching is of 3 x 3 features, but the first"):
        partner_overlap(two, three, Similarity.from_dense(np.eye(2)))
    with pytest.raises(UniversalityError, match="does not come from tokens"):
        partner_overlap(two, two, Similarity.from_dense(np.eye(2)))


def test_swapped_and_foreign_sides_are_refused(tmp_path: Path) -> None:
    _, inputs = plant_effects(WORLD, EffectWorld("equal"), tmp_path)
    forth, back = Similarity.activation(inputs.a, inputs.b), Similarity.activation(inputs.b, inputs.a)
    with pytest.raises(MismatchError, match="side a of the second matching is of another dictionary"):
        partner_overlap(match(forth), match(back), forth)
    with pytest.raises(MismatchError, match="side a of the similarity is of another dictionary"):
        partner_overlap(match(forth), match(forth), back)
    first = match(forth)
    sae = {side: first.provenance[side] | {"provenance": {"sae": {"hash": side}}} for side in "ab"}
    named = replace(first, provenance=first.provenance | sae)
    foreign = replace(first, provenance=first.provenance | sae | {"b": {"sae": "c"}})
    with pytest.raises(MismatchError, match="side b of the second matching is of another dictionary"):
        partner_overlap(named, foreign, forth)
    same = replace(first, provenance={"a": {"sae": "a"}, "b": {"sae": "b"}})  # as fingerprints record it
    assert partner_overlap(named, same, forth).summary()["share_same"] == 1

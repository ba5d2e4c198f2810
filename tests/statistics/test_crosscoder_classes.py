"""A crosscoder and a matching that see the same world agree; one that sees other text agrees by chance alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import Array, concepts, dense, noisy, pearson, text, write_store

from universality.errors import MismatchError
from universality.features import FeatureStore
from universality.statistics import Calibration, CrosscoderAgreement, calibrate, crosscoder_agreement, feature_classes
from universality.statistics.crosscoder_classes import CLASSES

SEEN = text(80)
SHARED, ALONE, DECOUPLED = 30, 15, 5
NORMS = np.repeat([0.5, 0.02, 0.98, 0.05, 0.95, 0.2], [SHARED, ALONE, ALONE, DECOUPLED, DECOUPLED, 1])
"""Of the crosscoder's features: shared, of A, of B, five shared concepts once more as twins, and one dead."""


@dataclass(frozen=True)
class World:
    """SAE stores of A and B, and a crosscoder's, whose features stand in the order of ``NORMS``."""

    a: FeatureStore
    b: FeatureStore
    crosscoder: FeatureStore
    matched: Calibration
    column: Array
    """Where each concept of B stands in its store."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder, rng = tmp_path_factory.mktemp("world"), np.random.default_rng(0)
    shared = concepts(SEEN.n_tokens, np.geomspace(0.02, 0.2, SHARED + DECOUPLED), rng)
    only_a, only_b = (concepts(SEEN.n_tokens, np.geomspace(0.02, 0.2, ALONE), rng) for _ in range(2))
    order = rng.permutation(SHARED + DECOUPLED + ALONE)
    dead = np.zeros((SEEN.n_tokens, 1))
    both = [shared[:, :SHARED], only_a, only_b, shared[:, SHARED:], shared[:, SHARED:]]
    a = write_store(folder / "a.h5", noisy(np.hstack([shared, only_a]), 0.1, rng), SEEN)
    b = write_store(folder / "b.h5", noisy(np.hstack([shared, only_b]), 0.1, rng)[:, order], SEEN)
    crosscoder = write_store(folder / "ab.h5", np.hstack([noisy(np.hstack(both), 0.1, rng), dead]), SEEN)
    matched = calibrate(a, b, replicates=0, bootstrap=0)
    return World(a, b, crosscoder, matched, np.argsort(order))


@pytest.fixture(scope="module")
def found(world: World) -> CrosscoderAgreement:
    return crosscoder_agreement(world.crosscoder, world.a, world.b, world.matched, NORMS, replicates=4)


def test_both_methods_say_the_same(world: World, found: CrosscoderAgreement) -> None:
    features = found.features.set_index("feature")
    assert found.n_dead == 1
    first = features.loc[: SHARED - 1]
    assert_array_equal(first["a"], np.arange(SHARED))
    assert_array_equal(first["b"], world.column[:SHARED])
    table = found.to_frame().set_index("class")
    assert table["n"].tolist() == [ALONE + DECOUPLED, 0, SHARED, 0, ALONE + DECOUPLED]
    assert table.loc["shared", ["both_good", "partners", "partners_good"]].tolist() == [1, 1, 1]
    assert table.loc["shared", "unmatched"] == 0
    only_a = features.loc[SHARED : SHARED + ALONE - 1]
    assert only_a["a_r"].median() > 0.8
    assert only_a["b_r"].median() < 0.2
    for name in ("exclusive A", "exclusive B"):
        assert_allclose(table.loc[name, ["both_good", "unmatched"]], [0.25, 0.75])  # the twins' concepts are matched
    assert found.summary()["evenness_against_pair"] > 0.6
    assert found.summary()["unmatched"] == pytest.approx(ALONE / (SHARED + DECOUPLED + ALONE))
    assert found.summary()["nearest_is_partner"] > 0.7
    assert found.summary()["matched_in_crosscoder"] == found.summary()["unmatched_in_crosscoder"] == 1


def test_by_chance_they_would_not(found: CrosscoderAgreement) -> None:
    """Not 0: what resembles a concept in A by luck resembles it in B by the same luck."""
    assert list(found.chance) == ["global", "kind"]
    for shares in found.chance.values():
        assert 0.02 < shares["shared"] < 0.5
    assert all(r < 0.3 for r in found.chance_r.values())


def test_a_crosscoder_of_other_text_does_not_agree(world: World, tmp_path: Path) -> None:
    """The control: its features fire as often, on other tokens."""
    turned = np.roll(dense(world.crosscoder), SEEN.n_tokens // 3, axis=0)
    other = write_store(tmp_path / "other.h5", turned, SEEN)
    found = crosscoder_agreement(other, world.a, world.b, world.matched, NORMS, replicates=8)
    assert found.to_frame().set_index("class").loc["shared", "both_good"] == 0
    assert found.summary()["matched_in_crosscoder"] == found.summary()["unmatched_in_crosscoder"] == 0
    by_chance = np.mean([found.chance["global"][name] for name in found.features["class"]])
    assert abs(found.features["partners"].mean() - by_chance) < 0.1


def test_decoupled_features_are_twins(found: CrosscoderAgreement) -> None:
    features = found.features.set_index("feature")
    start = SHARED + 2 * ALONE
    twins = features.loc[start : start + 2 * DECOUPLED - 1]
    assert_array_equal(twins["twin"], np.roll(twins.index, DECOUPLED))
    assert (twins["twin_r"] > 0.6).all()
    assert (features.loc[SHARED : start - 1, "twin_r"] < 0.3).all()
    assert (features.loc[: SHARED - 1, "twin"] == -1).all()
    table = found.to_frame().set_index("class")
    assert_allclose(table.loc[["exclusive A", "exclusive B"], "twins"], 0.25)


def test_partners_are_chosen_on_one_half_and_scored_on_the_other(world: World, found: CrosscoderAgreement) -> None:
    split = np.asarray(SEEN.documents.split)[SEEN.document]
    own, a, b = (dense(store) for store in (world.crosscoder, world.a, world.b))
    for side, name in ((a, "a"), (b, "b")):
        choose, report = (pearson(own[split == half], side[split == half])[:-1] for half in ("choose", "report"))
        best = choose.argmax(axis=1)
        assert_array_equal(found.features[name], best)
        assert_allclose(found.features[f"{name}_r"], report[np.arange(len(best)), best], atol=1e-9)
    pairs = dict(zip(world.matched.match.rows.tolist(), world.matched.match.cols.tolist(), strict=True))
    lines = found.features[["a", "b", "partners"]].itertuples(index=False)
    assert all(line.partners == (pairs.get(line.a) == line.b) for line in lines)


def test_classes_have_these_bounds() -> None:
    norms = [0, 0.1, 0.1001, 0.2999, 0.3, 0.5, 0.7, 0.7001, 0.8999, 0.9, 1]
    assert_array_equal(feature_classes(norms), np.repeat(CLASSES, [2, 2, 3, 2, 2]))


def test_what_does_not_fit_is_refused(world: World) -> None:
    with pytest.raises(MismatchError, match=r"expected 71 relative norms .* of 50 × 50 features, found \(3,"):
        crosscoder_agreement(world.crosscoder, world.a, world.b, world.matched, [0.5] * 3)

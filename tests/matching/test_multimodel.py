"""Concepts planted in some of several models come out as groups of those models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import concepts, noisy, text, write_store

from universality.errors import FormatError, MismatchError, UniversalityError
from universality.features import FeatureStore
from universality.matching import Groups, match_many
from universality.similarity import Similarity, all_pairs

SEEN = text(40)
NAMES = ("A", "B", "C", "D")
EVERYWHERE, IN_THREE, ALONE = 20, 10, 8  # concepts in all models, in all but D, in one


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, FeatureStore], dict[str, np.ndarray]]:
    """Four stores, and of each the concept behind every feature."""
    folder, rng = tmp_path_factory.mktemp("groups"), np.random.default_rng(0)
    shared = concepts(SEEN.n_tokens, np.geomspace(0.03, 0.2, EVERYWHERE + IN_THREE), rng)
    stores, truth = {}, {}
    for m, name in enumerate(NAMES):
        known = np.arange(EVERYWHERE + (IN_THREE if name != "D" else 0))
        own = concepts(SEEN.n_tokens, np.full(ALONE, 0.05), rng)
        x = np.hstack([noisy(shared[:, known], 0.1, rng), own])
        concept = np.append(known, 100 * (m + 1) + np.arange(ALONE))
        order = rng.permutation(concept.size)
        stores[name], truth[name] = write_store(folder / f"{name}.h5", x[:, order], SEEN), concept[order]
    return stores, truth


@pytest.fixture(scope="module")
def groups(world: tuple[dict[str, FeatureStore], dict[str, np.ndarray]]) -> Groups:
    return match_many(all_pairs(world[0]), floor=0.4)


def test_all_pairs_are_the_single_ones(world: tuple[dict[str, FeatureStore], dict[str, np.ndarray]]) -> None:
    stores, _ = world
    found = all_pairs(stores)
    assert list(found) == [("A", "B"), ("A", "C"), ("A", "D"), ("B", "C"), ("B", "D"), ("C", "D")]
    for (a, b), sim in found.items():
        assert_allclose(sim.dense(), Similarity.activation(stores[a], stores[b]).dense(), atol=1e-12)
    part = all_pairs(stores, "jaccard", memory_budget=1000, documents=[1, 5])["B", "D"]
    alone = Similarity.firing(stores["B"], stores["D"], documents=[1, 5], measure="jaccard")
    assert_allclose(part.dense(1 << 20), alone.dense(), atol=1e-12)


@pytest.mark.parametrize("method", ["hungarian", "mutual"])
def test_planted_groups_are_found(
    world: tuple[dict[str, FeatureStore], dict[str, np.ndarray]], groups: Groups, method: str
) -> None:
    stores, truth = world
    if method == "mutual":
        groups = match_many(all_pairs(stores), "mutual", floor=0.4)
    assert groups.summary()["in_models"] == {4: EVERYWHERE, 3: IN_THREE, 2: 0, 1: 4 * ALONE}
    for members in groups.members:
        found = {int(truth[name][j]) for name, j in zip(NAMES, members, strict=True) if j >= 0}
        assert len(found) == 1
    assert_array_equal(groups.members[EVERYWHERE:, 3], -1)
    assert_array_equal(groups.agreement, 1)
    assert groups.summary()["cycles_closed"] == 1
    assert_array_equal(groups.consistency()["tried"], [30, 20, 20, 20])


def test_unrelated_models_share_nothing(tmp_path: Path) -> None:
    """The control."""
    rng = np.random.default_rng(3)
    stores = {n: write_store(tmp_path / f"{n}.h5", concepts(SEEN.n_tokens, np.full(20, 0.1), rng), SEEN) for n in "ABC"}
    assert match_many(all_pairs(stores), floor=0.4).summary()["in_models"] == {3: 0, 2: 0, 1: 60}
    forced = match_many(all_pairs(stores))
    assert forced.summary()["cycles_closed"] < 0.3
    assert np.mean(forced.agreement) < 0.9


def test_two_features_of_one_model_never_share_a_group() -> None:
    """A0-B0 and B0-C0 and C0-A1 close no cycle: the weakest of them stays outside."""
    dense = {
        ("A", "B"): [[0.9, 0.0], [0.0, 0.1]],
        ("B", "C"): [[0.8, 0.0], [0.0, 0.1]],
        ("A", "C"): [[0.0, 0.1], [0.7, 0.0]],
    }
    groups = match_many({pair: Similarity.from_dense(scores) for pair, scores in dense.items()}, floor=0.5)
    assert_array_equal(groups.members, [[0, 0, 0]])
    assert_allclose(groups.score, [0.85])
    assert_allclose(groups.agreement, [2 / 3])
    assert_array_equal(groups.edges[:, 4], [0, 0, -1])
    assert groups.consistency().loc[0, ["tried", "closed"]].tolist() == [1, 0]
    assert groups.summary()["in_models"] == {3: 1, 2: 0, 1: 3}


def test_frame_graph_and_file_hold_it_all(groups: Groups, tmp_path: Path) -> None:
    frame = groups.to_frame()
    assert list(frame.columns) == ["group", "n_models", "score", "agreement", *NAMES]
    assert frame["D"].isna().sum() == IN_THREE
    assert frame["score"].head(EVERYWHERE).is_monotonic_decreasing
    graph = groups.to_graph()
    assert graph.number_of_nodes() == 4 * EVERYWHERE + 3 * IN_THREE
    assert graph.number_of_edges() == 6 * EVERYWHERE + 3 * IN_THREE
    first = f"A:{groups.members[0, 0]}"
    assert graph.nodes[first] == {"model": "A", "feature": groups.members[0, 0], "group": 0}
    for suffix in (".npz", ".json"):
        back = Groups.load(groups.save(tmp_path / f"groups{suffix}"))
        assert (back.names, back.provenance) == (groups.names, groups.provenance)
        for name, value in vars(groups).items():
            if isinstance(value, np.ndarray):
                assert_array_equal(getattr(back, name), value)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(FormatError, match=r"not a universality\.groups file"):
        Groups.load(tmp_path / "x.json")


def test_wrong_calls_are_refused(world: tuple[dict[str, FeatureStore], dict[str, np.ndarray]], tmp_path: Path) -> None:
    stores, _ = world
    with pytest.raises(UniversalityError, match="expected at least two stores, found 1"):
        all_pairs({"A": stores["A"]})
    with pytest.raises(UniversalityError, match="unknown measure 'r'; choose one of activation, cosine, phi, jaccard"):
        all_pairs(stores, "r")  # type: ignore[arg-type]
    other = write_store(tmp_path / "o.h5", np.ones((text(3).n_tokens, 2)), text(3))
    with pytest.raises(MismatchError, match=r"o\.h5: written from tokens"):
        all_pairs({"A": stores["A"], "O": other})
    pairs = all_pairs(stores)
    with pytest.raises(UniversalityError, match="groups need a one-to-one method"):
        match_many(pairs, "nearest")
    del pairs["B", "D"]
    with pytest.raises(UniversalityError, match="expected each two of A, B, C, D once, found A-B, A-C, A-D, B-C, C-D"):
        match_many(pairs)
    with pytest.raises(UniversalityError, match="expected each two of several models once, found nothing"):
        match_many({})
    small = Similarity.from_dense(np.eye(2))
    with pytest.raises(UniversalityError, match="A has 2 features in one pair and 3 in another"):
        match_many({("A", "B"): small, ("A", "C"): Similarity.from_dense(np.eye(3)), ("B", "C"): small})

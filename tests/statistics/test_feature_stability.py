"""Stability over SAE seeds, on planted seeds that share a known part of their features."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from universality import FeatureStore, calibrate
from universality.errors import MismatchError, UniversalityError
from universality.statistics import Calibration, Stability, stability, stability_of
from universality.statistics.synthetic import World, concepts, write_view

WORLD = World(n_documents=60, blocks=2, n_shared=48, n_alone=0, density=(0.02, 0.05), topic_share=1.0)
SEEDS = ("s0", "s1", "s2")
COMMON, IN_TWO = range(10), range(10, 20)  # concepts of all seeds; of s0 and s1 only; the others belong to one seed
OF_SEED = {
    "s0": [*COMMON, *IN_TWO, *range(20, 28)],
    "s1": [*COMMON, *IN_TWO, *range(28, 36)],
    "s2": [*COMMON, *range(36, 48)],
}


def planted_seed(name: str, folder: Path) -> tuple[FeatureStore, np.ndarray]:
    """Write the store of one seed: its concepts in an order of its own, a tenth of the firings missed."""
    rng = np.random.default_rng([3, SEEDS.index(name)])
    concept = rng.permutation(OF_SEED[name])
    seen = concepts(WORLD)[:, concept].tocoo()
    kept = rng.random(seen.nnz) >= 0.1
    values = seen.data[kept] * np.exp(0.2 * rng.normal(size=int(kept.sum())))
    matrix = sparse.csr_matrix((values.astype(np.float32), (seen.row[kept], seen.col[kept])), shape=seen.shape)
    return write_view(folder / f"{name}.h5", matrix, WORLD), concept


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[FeatureStore, np.ndarray]]:
    return {name: planted_seed(name, tmp_path_factory.mktemp("seeds")) for name in SEEDS}


@pytest.fixture(scope="module")
def calibrations(planted) -> dict[tuple[str, str], Calibration]:
    return {
        (a, b): calibrate(planted[a][0], planted[b][0], null="global", replicates=5, bootstrap=0)
        for a, b in combinations(SEEDS, 2)
    }


@pytest.fixture(scope="module")
def measured(calibrations) -> Stability:
    return stability_of(calibrations)


def test_the_share_of_seeds_that_have_a_concept_is_found(planted, measured) -> None:
    of_concept = {c: (sum(c in own for own in OF_SEED.values()) - 1) / 2 for c in range(48)}
    for name in SEEDS:
        concept = planted[name][1]
        np.testing.assert_array_equal(measured.score(name), [of_concept[c] for c in concept])
        assert sorted(concept[measured.stable(name)]) == list(COMMON)
    assert sorted(planted["s0"][1][measured.stable("s0", 0.5)]) == list(range(20))
    assert sorted(planted["s2"][1][measured.unstable("s2")]) == list(range(36, 48))


def test_groups_hold_one_concept_each(planted, measured) -> None:
    assert measured.groups.names == SEEDS
    in_all, in_two = (measured.groups.members[measured.groups.n_models == n] for n in (3, 2))
    assert (len(in_all), len(in_two)) == (len(COMMON), len(IN_TWO))
    for members in (in_all, in_two[:, :2]):
        concepts_of = np.stack([planted[name][1][column] for name, column in zip(SEEDS, members.T, strict=False)])
        assert (concepts_of == concepts_of[0]).all()
    assert (in_two[:, 2] == -1).all()


def test_the_summary_and_the_table_count_living_features(measured) -> None:
    summary = measured.summary()
    assert summary["n_living"] == 28 + 28 + 22
    assert summary["in_all"] == pytest.approx(30 / 78)
    assert summary["in_none"] == pytest.approx((8 + 8 + 12) / 78)
    assert summary["stability"] == pytest.approx((30 + 20 / 2) / 78)
    assert summary["stability_low"] == pytest.approx(10 / 22)
    assert summary["groups_in_all"] == 10
    assert summary["by_chance"] == 0
    frame = measured.to_frame()
    assert len(frame) == 78
    assert (frame.loc[frame["stability"] == 1, "median_held_out"] > 0.7).all()
    assert (frame.loc[frame["stability"] == 0, "median_held_out"].fillna(-1) < 0.7).all()


def test_stores_give_what_their_calibrations_give(planted, measured) -> None:
    stores = {name: store for name, (store, _) in planted.items()}
    again = stability(stores, replicates=5)
    for name in SEEDS:
        np.testing.assert_array_equal(again.score(name), measured.score(name))


def test_other_thresholds_need_no_new_calibration(calibrations) -> None:
    strict = stability_of(calibrations, threshold=1.01)
    assert strict.summary()["in_none"] == 1
    assert len(strict.groups.members) == 0
    lax = stability_of(calibrations, threshold=-1, q_level=1)  # the control: every scored pair recurs
    assert lax.summary()["stability"] > 0.9
    assert lax.by_chance == 1


def test_dead_features_have_no_score(calibrations) -> None:
    dead = np.arange(28) == 4
    changed = {
        pair: replace(each, match=replace(each.match, dead_rows=dead)) if pair[0] == "s0" else each
        for pair, each in calibrations.items()
    }
    found = stability_of(changed)
    np.testing.assert_array_equal(np.isnan(found.score("s0")), dead)
    assert 4 not in found.to_frame().query("seed == 's0'")["feature"].tolist()


def test_what_is_missing_or_does_not_fit_is_named(planted, calibrations, measured) -> None:
    with pytest.raises(UniversalityError, match="mapping of two stores or more by name, found 1"):
        stability({"s0": planted["s0"][0]})
    with pytest.raises(UniversalityError, match=r"one calibration for each two of s0, s1, s2, found s0-s1, s0-s2"):
        stability_of({pair: each for pair, each in calibrations.items() if pair != ("s1", "s2")})
    without = replace(calibrations["s0", "s1"], chances=())
    with pytest.raises(UniversalityError, match="s0 and s1 has no null; calibrate with one replicate or more"):
        stability_of({("s0", "s1"): without})
    nearest = calibrate(planted["s0"][0], planted["s1"][0], method="nearest", replicates=1, bootstrap=0)
    with pytest.raises(UniversalityError, match="features in several pairs"):
        stability_of({("s0", "s1"): nearest})
    with pytest.raises(MismatchError, match="s2 has 22 features in one calibration, 28 in another"):
        stability_of(calibrations | {("s1", "s2"): calibrations["s0", "s1"]})
    with pytest.raises(UniversalityError, match="no dictionary 's9'; there are s0, s1, s2"):
        measured.score("s9")


def test_notebooks_show_a_card(measured) -> None:
    assert "groups_in_all" in measured._repr_html_()
    assert repr(measured).startswith("Stability(3 dictionaries; mean 0.5")

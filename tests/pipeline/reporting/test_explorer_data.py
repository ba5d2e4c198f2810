"""Data files of the explorer."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import read_data as read
from planted_run import unpacked

from tests.report.planted_effects import agreement
from universality import FeatureStore
from universality.features.page_views import BINS, QUANTILES, SCALE, STRONGEST, feature_views, seen_by, windows
from universality.maps import JointMap
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.explored_side import UNKNOWN_EFFECT, _families
from universality.pipeline.reporting.explorer_data import write_explorer
from universality.pipeline.reporting.run_results import open_results
from universality.report.explorer import Words

HERE = "comparisons/A-B.w24"


@pytest.fixture(scope="module")
def stores(planted: Any) -> Any:
    _, folder = planted
    with FeatureStore.open(folder.store("A", 24, 0)) as a, FeatureStore.open(folder.store("B", 24, 0)) as b:
        yield a, b


def test_examples_are_the_strongest_and_those_at_quantiles(stores: Any) -> None:
    a, _ = stores
    views, block, dense = feature_views(a), a.tokens.block, a.csr().toarray()
    for feature in range(a.n_features):
        x = dense[:, feature]
        if not x.any():
            assert (views.row[feature] == -1).all()
            assert views.strongest[feature] == 0
            continue
        best = [max(np.flatnonzero(block == one), key=lambda row: x[row]) for one in np.unique(block)]
        wanted = sorted(best, key=lambda row: -x[row])[:STRONGEST]
        np.testing.assert_array_equal(views.row[feature, :STRONGEST], wanted)
        rising = np.sort(x[x > 0])
        ranks = [rising[int(q * (len(rising) - 1))] for q in QUANTILES]
        np.testing.assert_array_equal(x[views.row[feature, STRONGEST:]], ranks)
        np.testing.assert_array_equal(views.histogram[feature], np.histogram(x[x > 0], BINS, (0, float(x.max())))[0])


def test_shares_are_of_the_same_rows_for_feature_and_partner(stores: Any) -> None:
    a, b = stores
    views, block = feature_views(a), a.tokens.block
    features = np.asarray([5, 0, 20])
    around = windows(block, views.row[features])
    assert (block[around[0, 0][around[0, 0] >= 0]] == block[views.row[5, 0]]).all()
    partner = np.asarray([7, -1, 3])
    seen = seen_by(b, partner, around)
    for store, some, found in ((a, features, views.own[features]), (b, partner, seen)):
        dense = store.csr().toarray()
        for i, feature in enumerate(some):
            x = dense[:, feature] if feature >= 0 else np.zeros(len(dense))
            share = np.where(around[i] >= 0, x[around[i]], 0) / max(x.max(), 1e-9) * SCALE
            np.testing.assert_allclose(found[i], share, atol=1)
            np.testing.assert_array_equal(found[i] > 0, share > 0)


def test_the_table_holds_every_pair_and_the_views_their_weights(explored: Path, planted: Any, stores: Any) -> None:
    from universality.statistics import Calibration

    _, folder = planted
    frame = Calibration.load(folder.calibration("A-B.w24")).to_frame()
    (index,) = read(explored, "index")["comparisons"]
    pairs = read(explored, f"{HERE}/matched") | read(explored, f"{HERE}/pairs")
    assert index["n_pairs"] == len(frame) == 23
    with np.load(folder.similarity("A-B.w24")) as arrays:
        by_chance = arrays["logit_by_chance"].astype(float)
    assert index["logit_chance"] == f"95% of random pairs below {np.nanquantile(by_chance, 0.95):.2f}"
    for name in ("row", "col", "held_out", "q", "q_kind"):
        np.testing.assert_allclose(unpacked(pairs[name]), frame[name].astype(np.float32), equal_nan=True)
    words, features = read(explored, "words"), read(explored, "sides/A.w24-s0/features-0")
    a, u = stores[0], stores[0].unembedding()
    direction = a.dictionary.residual[frame["row"][3]]
    weights = (direction - direction.mean()) @ u.W_U
    shown = features[frame["row"][3]]
    assert shown["up"][0][1] == pytest.approx(weights.max() - weights.mean(), abs=0.01)
    assert words[shown["up"][0][0]] in words
    near = read(explored, f"{HERE}/partners-0")["a"]
    assert unpacked(near["near"])[3 * near["n_near"]] == frame["col"][3]
    assert unpacked(near["near_r"])[3 * near["n_near"]] / 100 == pytest.approx(frame["score"][3], abs=0.05)


def test_partners_on_examples_are_where_the_partner_fires(explored: Path, planted: Any, stores: Any) -> None:
    from universality.statistics import Calibration

    frame = Calibration.load(planted[1].calibration("A-B.w24")).to_frame()
    index, partners = read(explored, "index"), read(explored, f"{HERE}/partners-0")
    n_fire = 0
    for letter, own, partner, side in (("a", 0, 1, "A.w24-s0"), ("b", 1, 0, "B.w24-s0")):
        columns = {name: unpacked(partners[letter][name]) for name in ("start", "at", "share")}
        features = read(explored, f"sides/{side}/features-0")
        views = feature_views(stores[own])
        for i, pair in enumerate(frame.itertuples()):
            number, other = (pair.row, pair.col) if letter == "a" else (pair.col, pair.row)
            examples = features[number]["top"] + features[number]["range"]
            here = slice(columns["start"][i], columns["start"][i + 1])
            found = dict(zip(columns["at"][here].tolist(), columns["share"][here].tolist(), strict=True))
            x = stores[partner].csr().toarray()[:, other]
            rows = views.row[number][views.row[number] >= 0]
            for e, (row, (_, _, focus, _)) in enumerate(zip(rows, examples, strict=True)):
                share = found.get(e * index["window"] + focus, 0)
                assert share == pytest.approx(100 * x[row] / x.max(), abs=1)
                n_fire += share > 0
    assert n_fire > 100  # the shared atoms fire together


def test_data_of_an_earlier_layout_are_removed(planted: Any, tmp_path: Path) -> None:
    config, folder = planted
    old = tmp_path / "data" / "views-0.js", tmp_path / "data" / "sides" / "gone" / "map.js"
    for path in (*old, tmp_path / "data" / "notes.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old")
    with open_results(config, folder) as results:
        files = write_explorer(results, tmp_path, {})
    assert set(files) == set((tmp_path / "data").rglob("*.js"))
    assert not (tmp_path / "data" / "sides" / "gone").exists()
    assert (tmp_path / "data" / "notes.txt").exists()


def test_the_map_keeps_every_place_and_leaves_the_dead_out(explored: Path, planted: Any, stores: Any) -> None:
    made = JointMap.load(planted[1].map("A-B.w24"))
    found = read(explored, f"{HERE}/map")
    places = [unpacked(found["xy"][str(k)]).reshape(-1, 2).astype(float) for k in range(2)]
    for xy, store in zip(places, stores, strict=True):
        np.testing.assert_array_equal((xy == -32768).all(axis=1), ~store.alive)
    living = stores[0].alive
    scale = np.ptp(places[0][living], axis=0) / np.ptp(made.xy_a[living], axis=0)
    assert scale[0] == pytest.approx(scale[1], rel=1e-3)  # one scale for both axes, and for both models
    own = places[0][living] * found["unit"] + found["middle"]  # the coordinates of maps/*.csv
    np.testing.assert_allclose(own, made.xy_a[living], atol=found["unit"])
    gap = (places[1][stores[1].alive].mean(axis=0) - places[0][living].mean(axis=0)) / scale
    wanted = np.nanmean(made.xy_b, axis=0) - np.nanmean(made.xy_a, axis=0)
    np.testing.assert_allclose(gap, wanted, atol=1e-3)
    np.testing.assert_array_equal(unpacked(found["cluster"]["1"]), made.cluster_b)
    np.testing.assert_array_equal(unpacked(found["alone"]["0"]), made.alone_a)
    assert len(found["names"]) == 3
    assert found["ranks"]["held_out"] == {"n": 10, "near": 1.0, "chance": 10 / 24, "share": 0.0}
    assert "map" in next(side for side in read(explored, "index")["sides"] if side["name"] == "A")["files"]


def test_a_run_without_maps_has_none(planted: Any, tmp_path: Path) -> None:
    config, folder = planted
    copy = RunFolder(tmp_path / "run")
    shutil.copytree(folder.root, copy.root, ignore=shutil.ignore_patterns("report", "maps"))
    with open_results(config, copy) as results:
        files = write_explorer(results, tmp_path / "page", {})
    assert not [file for file in files if file.name == "map.js"]


def test_families_have_the_effects_of_their_edges(planted: Any, tmp_path: Path) -> None:
    from universality.family import Families

    config, folder = planted[0], RunFolder(tmp_path / "run")
    shutil.copytree(planted[1].root, folder.root, ignore=shutil.ignore_patterns("report"))
    edges = Families.load(folder.families("A")).edges
    (folder.root / "effects").mkdir()
    agreement(edges.parent, edges.child).save(folder.family_effects("A", 16, 24))
    with open_results(config, folder) as results:
        measured, unmeasured = (_families(results, name, Families.load(folder.families(name)), Words(str))
                                for name in "AB")  # fmt: skip
    assert set(unpacked(unmeasured["effect"])) == {UNKNOWN_EFFECT}
    r = np.where(np.arange(len(edges)) < 10, 30, 60)
    r[-3:] = UNKNOWN_EFFECT
    known = dict(zip(zip(edges.parent.tolist(), (edges.child + 16).tolist(), strict=True), r.tolist(), strict=True))
    parent, effect = unpacked(measured["parent"]), unpacked(measured["effect"])
    found = {(int(p), c): int(effect[c]) for c, p in enumerate(parent) if p >= 0}
    ends = unpacked(measured["more_parent"]), unpacked(measured["more_child"])
    found |= {(int(p), int(c)): int(e) for p, c, e in zip(*ends, unpacked(measured["more_effect"]), strict=True)}
    assert found == known
    assert {30, 60, UNKNOWN_EFFECT} == set(found.values())


def test_families_keep_every_edge(explored: Path, planted: Any) -> None:
    from universality.family import Families

    frame = Families.load(planted[1].families("A")).to_frame()
    found = read(explored, "sides/A.w24-s0/families")
    parent = unpacked(found["parent"])
    edges = {(up, child) for child, up in enumerate(parent.tolist()) if up >= 0}
    edges |= set(zip(unpacked(found["more_parent"]).tolist(), unpacked(found["more_child"]).tolist(), strict=True))
    start = dict(zip(found["widths"], found["starts"], strict=True))
    wanted = {(start[row.parent_width] + row.parent, start[row.child_width] + row.child) for row in frame.itertuples()}
    assert edges == wanted
    assert len(wanted) >= 16

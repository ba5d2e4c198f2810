"""Data files of the explorer."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from universality import FeatureStore
from universality.features.page_views import BINS, QUANTILES, SCALE, STRONGEST, feature_views, seen_by, windows


def read(page: Path, name: str) -> Any:
    text = (page.parent / "data" / f"{name}.js").read_text(encoding="ascii")
    start, end = f'universality.add("{name}",', ");\n"
    assert text.startswith(start)
    assert text.endswith(end)
    return json.loads(text[len(start) : -len(end)])


def unpacked(column: dict[str, str]) -> Any:
    return np.frombuffer(base64.b64decode(column["base64"]), f"<{column['type']}")


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
    index, pairs = read(explored, "index"), read(explored, "pairs")
    assert index["n_pairs"] == len(frame) == 23
    with np.load(folder.similarity("A-B.w24")) as arrays:
        by_chance = arrays["logit_by_chance"].astype(float)
    assert index["logit_chance"] == f"95% of random pairs below {np.nanquantile(by_chance, 0.95):.2f}"
    for name in ("row", "col", "held_out", "q", "q_kind"):
        np.testing.assert_allclose(unpacked(pairs[name]), frame[name].astype(np.float32), equal_nan=True)
    words, views = read(explored, "words"), read(explored, "views-0")
    a, u = stores[0], stores[0].unembedding()
    direction = a.dictionary.residual[frame["row"][3]]
    weights = (direction - direction.mean()) @ u.W_U
    assert views[3]["a"]["up"][0][1] == pytest.approx(weights.max() - weights.mean(), abs=0.01)
    assert views[3]["a"]["near"][0] == [int(frame["col"][3]), pytest.approx(frame["score"][3], abs=0.05)]
    assert words[views[3]["a"]["up"][0][0]] in words


def test_the_map_leaves_the_dead_out(explored: Path, stores: Any) -> None:
    found = read(explored, "map-0")
    xy = unpacked(found["xy"]).reshape(-1, 2)
    np.testing.assert_array_equal((xy == -32768).all(axis=1), ~stores[0].alive)
    assert np.abs(xy[stores[0].alive].astype(int)).max(axis=0).tolist() == [32767, 32767]
    assert 0 < found["explained"] <= 1


def test_families_keep_every_edge(explored: Path, planted: Any) -> None:
    from universality.family import Families

    frame = Families.load(planted[1].families("A")).to_frame()
    found = read(explored, "families-0")
    parent = unpacked(found["parent"])
    edges = {(up, child) for child, up in enumerate(parent.tolist()) if up >= 0}
    edges |= set(zip(unpacked(found["more_parent"]).tolist(), unpacked(found["more_child"]).tolist(), strict=True))
    start = dict(zip(found["widths"], found["starts"], strict=True))
    wanted = {(start[row.parent_width] + row.parent, start[row.child_width] + row.child) for row in frame.itertuples()}
    assert edges == wanted
    assert len(wanted) >= 16

"""In a noisy world with planted splits, merges, novel and absorbed features: edges, kinds and origins come back."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose
from stores import write_into
from world import World

from universality.errors import MismatchError
from universality.family import Families, families
from universality.family.edges import Edges, edge_kinds
from universality.features.storage.store import FeatureStore


@pytest.fixture(scope="module")
def world() -> World:
    return World(np.random.default_rng(11))


@pytest.fixture(scope="module")
def world_stores(world: World, tmp_path_factory: pytest.TempPathFactory) -> list[FeatureStore]:
    folder = tmp_path_factory.mktemp("world")
    return [write_into(folder, f"w{side}", *world.dictionary(side)) for side in (0, 1)]


@pytest.fixture(scope="module", params=["proxy", "activations"])
def found(request: pytest.FixtureRequest, world: World, world_stores: list[FeatureStore]) -> Families:
    activations = np.array_split(world.activations, 7) if request.param == "activations" else None
    found = families(world_stores, activations=activations, n_replicates=1, bootstrap=20)
    assert found.reconstruction == request.param
    return found


def test_edges_have_precision_and_recall(world: World, found: Families) -> None:
    pairs = set(zip(found.edges.parent.tolist(), found.edges.child.tolist(), strict=True))
    hits = len(pairs & set(world.edges))
    assert hits / len(pairs) >= 0.95
    assert hits / len(world.edges) >= 0.9
    assert [met.linked for met in found.chance.repaired[0]] == [0]


def test_edges_are_of_the_planted_kinds(world: World, found: Families) -> None:
    graph = found.graph
    said = {(a[1], b[1]): kind for a, b, kind in graph.edges(data="kind")}
    right = [said.get(pair) == kind for pair, kind in world.edges.items()]
    assert np.mean(right) >= 0.9
    for kind in ("persists", "splits into", "merges into"):
        assert np.mean([said.get(pair) == kind for pair, planted in world.edges.items() if planted == kind]) >= 0.8


def test_novel_and_absorbed_features_are_told_apart(world: World, found: Families) -> None:
    said = {feature: found.graph.nodes[1, feature]["status"] for feature in world.status}
    for status in ("novel", "absorbed"):
        planted = [feature for feature, truth in world.status.items() if truth == status]
        assert np.mean([said[feature] == status for feature in planted]) >= 0.9
    level = found.summary()["levels"][1]
    assert level["novel"] + level["absorbed"] == sum(found.graph.in_degree((1, j)) == 0 for j in range(level["width"]))


def test_inserting_a_novel_feature_lowers_the_error(world: World, found: Families) -> None:
    missing = found.origins[1].missing
    persists = [child for (_, child), kind in world.edges.items() if kind == "persists"]
    novel = [feature for feature, truth in world.status.items() if truth == "novel"]
    assert np.mean(missing[novel] > 0.5) == 1
    assert np.mean(missing[persists] > 0.5) == 0


def test_reconstruction_tests_are_their_definitions(world: World, found: Families) -> None:
    (a, d), (b, e) = (tuple(m.astype(np.float64) for m in world.dictionary(side)) for side in (0, 1))
    x = world.activations.astype(np.float32) if found.reconstruction == "activations" else b @ e
    r = x - a @ d
    r = r - r.mean(axis=0)
    for n in range(0, len(found.edges), 7):
        i, j = found.edges.parent[n], found.edges.child[n]
        both = (a[:, i] > 0) & (b[:, j] > 0)
        without = r[both] + np.outer(a[both, i], d[i])
        replaced = without - np.outer(b[both, j], e[j])
        error, error_without, error_replaced = ((some**2).sum() for some in (r[both], without, replaced))
        expected = (error_without - error_replaced) / abs(error_without - error)
        assert_allclose(found.edges.recovered[n], expected, rtol=1e-3, atol=1e-3)
    origins = found.origins[1]
    for j in range(0, len(e), 5):
        fires = b[:, j] > 0
        inserted = r[fires] - np.outer(b[fires, j], e[j])
        energy = (b[fires, j] ** 2).sum() * (e[j] ** 2).sum()
        change = (r[fires] ** 2).sum() - (inserted**2).sum()
        assert_allclose(2 * origins.missing[j] - 1, change / energy, rtol=1e-3, atol=1e-3)
    for j in np.flatnonzero(origins.nearest >= 0):
        i, fires = origins.nearest[j], b[:, j] > 0
        cosine = (d @ e[j]) / (np.linalg.norm(d, axis=1) * np.linalg.norm(e[j]))
        assert i == cosine.argmax()
        assert_allclose(origins.nearest_cosine[j], cosine[i], rtol=1e-5)
        assert_allclose(origins.nearest_coverage[j], (a[fires, i] > 0).mean())
        along = x @ d[i]
        expected = (along[fires].mean() - along.mean()) / (along[a[:, i] > 0].mean() - along.mean())
        assert_allclose(origins.presence[j], expected, rtol=1e-3, atol=1e-3)


def test_each_rule_is_counted_alone_and_together(world: World, found: Families) -> None:
    (a, d), (b, e) = (world.dictionary(side) for side in (0, 1))
    fires_a, fires_b = a > 0, b > 0
    both = fires_a.T.astype(float) @ fires_b
    coverage = both / fires_b.sum(axis=0)
    ab, aa, bb = a.T.astype(float) @ b, (a.astype(float) ** 2).T @ fires_b, fires_a.T @ (b.astype(float) ** 2)
    norm = np.sqrt(np.minimum((a.astype(float) ** 2).sum(0)[:, None] * bb, aa * (b.astype(float) ** 2).sum(0)))
    masked = np.divide(ab, norm, out=np.zeros_like(ab), where=norm > 0)
    cosine = d @ e.T
    met = found.chance.observed[0]
    assert met.together == (both > 0).sum()
    assert met.covered == (coverage >= 0.2).sum()
    assert met.alike == (masked >= 0.4).sum()
    assert met.covered_alike == ((coverage >= 0.2) & (masked >= 0.4)).sum()
    assert met.linked == ((coverage >= 0.2) & (masked >= 0.4) & (cosine >= 0.3)).sum()


def test_a_narrow_feature_without_children_has_vanished(
    world: World, world_stores: list[FeatureStore], write_store: Callable[..., FeatureStore]
) -> None:
    x, decoder = world.dictionary(0)
    lost = np.random.default_rng(5).standard_normal((1, decoder.shape[1])).astype(np.float32)
    fires = (np.random.default_rng(6).random((len(x), 1)) < 0.01).astype(np.float32)
    small = write_store("more", np.hstack([x, fires]), np.vstack([decoder, lost]))
    found = families([small, world_stores[1]], n_replicates=0, bootstrap=0)
    assert found.graph.nodes[0, x.shape[1]]["vanished"]
    assert not any(found.graph.nodes[1, j]["vanished"] for j in range(world_stores[1].n_features)), "nothing is wider"
    assert found.summary()["levels"][0]["childless"] == sum(v for _, v in found.graph.nodes(data="vanished"))


def test_kinds_follow_from_who_else_is_there() -> None:
    ends = np.array([[0, 0], [1, 1], [1, 2], [2, 3], [3, 3], [4, 4], [4, 5], [5, 5]])
    blank = np.zeros(len(ends))
    edges = Edges(np.zeros(len(ends), np.int64), ends[:, 0], ends[:, 1], *[blank] * 7)
    said = dict(zip(map(tuple, ends.tolist()), edge_kinds(edges).tolist(), strict=True))
    assert said[0, 0] == "persists"
    assert said[1, 1] == said[1, 2] == "splits into"
    assert said[2, 3] == said[3, 3] == "merges into"
    assert said[4, 4] == "splits into"
    assert said[4, 5] == said[5, 5] == "merges into"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: [x[:-1]], "expected the 20000 tokens of .*w0.h5, found 19999"),
        (lambda x: [x, x[:1]], r"found shape \(1, 256\) after 20000 tokens"),
        (lambda x: [x[:, :9]], r"expected arrays \[n, 256\]"),
        (lambda x: [x[0]], r"found shape \(256,\)"),
    ],
)
def test_activations_that_do_not_fit_are_refused(
    world: World, world_stores: list[FeatureStore], change: Callable, message: str
) -> None:
    with pytest.raises(MismatchError, match=message):
        families(world_stores, activations=change(world.activations), n_replicates=0)

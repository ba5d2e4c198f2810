"""Features without a parent: novel, absorbed, rare or dead; and features without children."""

from collections.abc import Callable

import numpy as np
from world import World

from universality.family import Families, families
from universality.features.storage.store import FeatureStore


def test_novel_and_absorbed_features_are_told_apart(world: World, linked: Families) -> None:
    said = {feature: linked.graph.nodes[1, feature]["status"] for feature in world.status}
    for status in ("novel", "absorbed"):
        planted = [feature for feature, truth in world.status.items() if truth == status]
        assert np.mean([said[feature] == status for feature in planted]) >= 0.9
    level = linked.summary()["levels"][1]
    assert level["novel"] + level["absorbed"] == sum(linked.graph.in_degree((1, j)) == 0 for j in range(level["width"]))


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


def test_dead_and_rare_features_stay_as_nodes_without_edges(
    plants: tuple, write_store: Callable[..., FeatureStore]
) -> None:
    narrow, middle = plants[:2]
    x, decoder = middle.x.copy(), middle.decoder
    dead, rare = middle.sets.index(frozenset({4})), middle.sets.index(frozenset({5}))
    x[:, dead] = 0
    x[np.flatnonzero(x[:, rare])[9:], rare] = 0
    stores = [write_store("a", narrow.x, narrow.decoder), write_store("b", x, decoder)]
    found = families(stores)
    states = {j: found.graph.nodes[1, j]["status"] for j in (dead, rare)}
    assert states == {dead: "dead", rare: "rare"}
    assert found.graph.degree((1, dead)) == found.graph.degree((1, rare)) == 0
    level = found.summary()["levels"][1]
    assert (level["dead"], level["rare"], level["eligible"]) == (1, 1, len(middle.sets) - 2)
    assert families(stores, min_firings=9).graph.in_degree((1, rare)) == 1

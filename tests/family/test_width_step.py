"""In a noisy world with planted splits, merges, novel and absorbed features the edges and their types come back."""

import numpy as np
from world import World

from universality.family import Families


def test_edges_have_precision_and_recall(world: World, linked: Families) -> None:
    pairs = set(zip(linked.edges.parent.tolist(), linked.edges.child.tolist(), strict=True))
    hits = len(pairs & set(world.edges))
    assert hits / len(pairs) >= 0.95
    assert hits / len(world.edges) >= 0.9
    assert [met.linked for met in linked.chance.repaired[0]] == [0]


def test_edges_are_of_the_planted_kinds(world: World, linked: Families) -> None:
    graph = linked.graph
    said = {(a[1], b[1]): kind for a, b, kind in graph.edges(data="kind")}
    right = [said.get(pair) == kind for pair, kind in world.edges.items()]
    assert np.mean(right) >= 0.9
    for kind in ("persists", "splits into", "merges into"):
        assert np.mean([said.get(pair) == kind for pair, planted in world.edges.items() if planted == kind]) >= 0.8

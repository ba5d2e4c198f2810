"""Types of edges, and the parent that a child keeps."""

import networkx as nx
import numpy as np
from numpy.testing import assert_array_equal

from universality.family.edges import Edges, best_parents, edge_kinds


def edges_of(level: list[int], parent: list[int], child: list[int], weight: list[float]) -> Edges:
    blank = np.zeros(len(level))
    return Edges(np.array(level), np.array(parent), np.array(child), *[blank] * 6, weight=np.array(weight))


def test_each_child_keeps_its_heaviest_edge_and_ties_go_to_the_lower_parent() -> None:
    edges = edges_of([0, 0, 0, 0, 1, 1], [0, 1, 3, 2, 0, 5], [7, 7, 8, 8, 7, 7], [0.5, 0.6, 0.9, 0.9, 0.1, 0.2])
    kept = edges.take(best_parents(edges))
    found = set(zip(kept.level, kept.parent, kept.child, strict=True))
    assert found == {(0, 1, 7), (0, 2, 8), (1, 5, 7)}


def test_no_edges_keep_none() -> None:
    assert_array_equal(best_parents(edges_of([], [], [], [])), [])


def test_equals_the_general_algorithm_on_random_graphs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        n = 60
        ends = np.unique(np.stack([rng.integers(0, 2, n), rng.integers(0, 6, n), rng.integers(0, 9, n)]), axis=1)
        edges = edges_of(*ends.tolist(), weight=rng.random(ends.shape[1]).tolist())
        graph = nx.DiGraph()
        for level, parent, child, weight in zip(*ends.tolist(), edges.weight, strict=True):
            graph.add_edge((level, parent), (level + 1, child), weight=weight)
        kept = edges.take(best_parents(edges))
        found = {((lv, p), (lv + 1, c)) for lv, p, c in zip(kept.level, kept.parent, kept.child, strict=True)}
        assert found == set(nx.maximum_branching(graph, attr="weight").edges)


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

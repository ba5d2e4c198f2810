"""The tree is the maximum spanning forest, and the tables hold what the graph does."""

import networkx as nx
import pandas as pd
from numpy.testing import assert_allclose

from universality.family import Families

Node = tuple[int, int]


def test_tree_is_the_maximum_spanning_forest(planted: Families) -> None:
    tree = planted.tree()
    expected = nx.maximum_branching(planted.graph, attr="weight")
    assert set(tree.edges) == set(expected.edges)
    assert set(tree.nodes) == set(planted.graph.nodes)
    assert nx.is_branching(tree)
    dropped = planted.edges.weight.sum() - sum(w for *_, w in tree.edges(data="weight"))
    assert (tree.graph["kept_edges"], tree.graph["dropped_edges"]) == (25, 1)
    assert_allclose(tree.graph["dropped_weight"], dropped / planted.edges.weight.sum())
    assert planted.graph.number_of_edges() == 26, "the graph keeps what the tree drops"


def test_families_of_the_tree_hang_together(planted: Families, plants: tuple) -> None:
    tree = planted.tree()
    for component in nx.weakly_connected_components(tree):
        root = min(component)
        assert {tree.nodes[node]["family"] for node in component} == {tree.nodes[root]["label"]}
    big = (0, plants[0].sets.index(frozenset({0, 1, 2, 3})))
    below = {node for node in tree if tree.nodes[node]["family"] == tree.nodes[big]["label"]}
    assert {plants[level].sets[j] for level, j in below} == {
        frozenset(s) for s in ({0, 1, 2, 3}, {0, 1}, {2, 3}, {0}, {1}, {2}, {3})
    }


def test_frames(planted: Families, true_edges: set[tuple[Node, Node]]) -> None:
    frame, nodes = planted.to_frame(), planted.nodes_frame()
    widths = [len(s) for s in (planted.levels[i].count for i in range(3))]
    pairs = {
        ((widths.index(r.parent_width), r.parent), (widths.index(r.child_width), r.child)) for r in frame.itertuples()
    }
    assert pairs == true_edges
    assert len(frame) == len(true_edges)
    assert frame["in_tree"].sum() == 25
    assert len(nodes) == planted.graph.number_of_nodes()
    for row in nodes.to_dict("records"):
        known = {name: None if pd.isna(value) else value for name, value in row.items()}
        assert known == planted.graph.nodes[row["level"], row["feature"]]

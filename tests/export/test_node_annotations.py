"""Nodes of a match or a family say what they fire on, and files keep it."""

from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.errors import MismatchError
from universality.export import annotate, split_tokens, write_graphml
from universality.features.storage.store import FeatureStore
from universality.matching import match
from universality.similarity import Similarity

Stores = tuple[FeatureStore, FeatureStore]


def test_a_match_carries_tokens_density_and_kind_into_graphml(two_stores: Stores, tmp_path: Path) -> None:
    graph = match(Similarity.activation(*two_stores)).to_graph()
    words = [f"\x07{i}" for i in range(10)]
    full = annotate(graph, two_stores, decode=lambda ids: [words[i] for i in ids], k=3)
    assert "tokens" not in graph.nodes["a:0"]
    found = nx.read_graphml(write_graphml(full, tmp_path / "m.graphml"))
    for side, store in zip("ab", two_stores, strict=True):
        for feature in range(3):
            values = found.nodes[f"{side}:{feature}"]
            rows, _ = store.feature(feature)
            assert_allclose(values["density"], len(rows) / store.n_tokens)
            assert values["kind"] == ("y" if feature == 1 else "x")
            tokens = split_tokens(values["tokens"])
            assert len(tokens) == 3
            assert set(tokens) <= set(words)
    assert "kind" not in found.nodes["b:3"]
    assert found.nodes["b:3"]["purity"] == 0


def test_levels_name_the_store_too(two_stores: Stores) -> None:
    graph = nx.DiGraph()
    graph.add_node((1, 2), level=1, feature=2)
    expected = two_stores[1].moments().density[2]
    assert_allclose(annotate(graph, two_stores).nodes[1, 2]["density"], expected)


def test_graphs_of_something_else_are_refused(two_stores: Stores) -> None:
    with pytest.raises(MismatchError, match="node 0 has no 'feature' with a 'level' or 'bipartite'"):
        annotate(nx.path_graph(2), two_stores)


@pytest.mark.parametrize("values", [{"level": 2, "feature": 0}, {"level": 0, "feature": 3}])
def test_stores_that_do_not_hold_a_node_are_refused(two_stores: Stores, values: dict[str, int]) -> None:
    graph = nx.DiGraph()
    graph.add_node("n", **values)
    with pytest.raises(MismatchError, match=r"the stores given have \[3, 4\] features"):
        annotate(graph, two_stores)


def test_columns_become_attributes_where_they_are_known(two_stores: Stores) -> None:
    graph = match(Similarity.activation(*two_stores)).to_graph()
    widths = [store.n_features for store in two_stores]
    known = np.arange(widths[1], dtype=float)
    known[0] = np.nan
    annotated = annotate(graph, two_stores, columns=[{}, {"ceiling": known}])
    assert annotated.nodes["b:1"]["ceiling"] == 1.0
    assert all("ceiling" not in annotated.nodes[node] for node in ("a:1", "b:0"))
    with pytest.raises(
        MismatchError, match=rf"ceiling: expected a number for each of {widths[0]} features, found \[1\]"
    ):
        annotate(graph, two_stores, columns=[{"ceiling": [0.5]}])

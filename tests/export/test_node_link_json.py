"""networkx and strict JSON readers read the node-link JSON that is written."""

import json
from pathlib import Path

import networkx as nx
import pytest

from universality.export import plain, write_node_link


def read_json(path: Path) -> nx.Graph:
    return nx.node_link_graph(json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail))


def same(found: nx.Graph, expected: nx.Graph) -> None:
    """Same nodes, edges and attributes."""
    assert found.is_directed() == expected.is_directed()
    assert dict(found.nodes(data=True)) == dict(expected.nodes(data=True))
    assert set(found.edges) == set(expected.edges)
    for edge in expected.edges:  # GEXF numbers its edges
        assert {k: v for k, v in found.edges[edge].items() if k != "id"} == expected.edges[edge]


def test_networkx_reads_node_link(tmp_path: Path, graph: nx.Graph, nasty: list[str]) -> None:
    same(read_json(write_node_link(graph, tmp_path / "a.json")), plain(graph))


def test_node_link_names_its_edges_as_asked(tmp_path: Path, graph: nx.Graph) -> None:
    path = write_node_link(graph, tmp_path / "a.json", edges="links")
    assert len(json.loads(path.read_text(encoding="utf-8"))["links"]) == graph.number_of_edges()

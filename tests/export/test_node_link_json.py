"""networkx and strict JSON readers read the node-link JSON that is written."""

import json
from pathlib import Path

import networkx as nx
import pytest
from schema import same

from universality.export import plain, write_node_link


def read_json(path: Path) -> nx.Graph:
    return nx.node_link_graph(json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail))


def test_networkx_reads_node_link(tmp_path: Path, graph: nx.Graph, nasty: list[str]) -> None:
    same(read_json(write_node_link(graph, tmp_path / "a.json")), plain(graph))


def test_node_link_names_its_edges_as_asked(tmp_path: Path, graph: nx.Graph) -> None:
    path = write_node_link(graph, tmp_path / "a.json", edges="links")
    assert len(json.loads(path.read_text(encoding="utf-8"))["links"]) == graph.number_of_edges()

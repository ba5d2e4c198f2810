"""Cytoscape JSON has its form and keeps every attribute."""

import json
from pathlib import Path

import networkx as nx
import pytest

from universality.errors import UniversalityError
from universality.export import unescape, write_cytoscape


def test_names_that_cytoscape_keeps_do_not_take_those_of_others(tmp_path: Path) -> None:
    graph = nx.Graph(name="x")
    assert json.loads(write_cytoscape(graph, tmp_path / "a").read_text())["data"] == {"attribute_name": "x"}
    graph.graph["attribute_name"] = "y"
    with pytest.raises(UniversalityError, match="attributes 'name' and 'attribute_name' would both be written"):
        write_cytoscape(graph, tmp_path / "a")


UNKIND = ["<script>&\"'", "\x00\x1f", "\ud800", "\u202eevil", "\ufffe", "a" * 10_000, "\udce2", "]]>", ""]


@pytest.fixture(params=[nx.Graph, nx.DiGraph])
def graph(request: pytest.FixtureRequest) -> nx.Graph:
    made = request.param(name="x<y", pairs=3)
    for i, token in enumerate(UNKIND):
        made.add_node((0, i), tokens=[token, "b"], label=token, density=0.1 * i, dead=i % 2 == 0, feature=i)
    made.add_edge((0, 0), (0, 1), weight=0.5, note="\x01")
    made.add_edge((0, 1), (0, 2), weight=float("nan"))
    return made


def test_cytoscape_json_keeps_everything(graph: nx.Graph, tmp_path: Path) -> None:
    text = write_cytoscape(graph, tmp_path / "g.cyjs").read_text(encoding="utf-8")
    found = json.loads(text)
    assert found["directed"] is graph.is_directed()
    assert found["data"]["attribute_name"] == "x<y"
    nodes = [node["data"] for node in found["elements"]["nodes"]]
    assert [unescape(node["label"]) for node in nodes] == UNKIND
    edges = [edge["data"] for edge in found["elements"]["edges"]]
    assert [(e["id"], e["source"], e["target"], e.get("weight")) for e in edges] == [
        ("e0", "0:0", "0:1", 0.5), ("e1", "0:1", "0:2", None),
    ]  # fmt: skip
    assert nx.cytoscape_graph(found).number_of_edges() == 2

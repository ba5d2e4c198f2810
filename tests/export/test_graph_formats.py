"""What is written is read by the tools it is written for: networkx, igraph, strict JSON, strict XML."""

import json
import math
import stat
from collections.abc import Callable
from pathlib import Path

import igraph
import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schema import GEXF, GRAPHML, faults

from universality.export import (
    unescape,
    write_cytoscape,
    write_gexf,
    write_graph,
    write_graphml,
    write_node_link,
)
from universality.files import replacing_text


def read_json(path: Path) -> nx.Graph:
    return nx.node_link_graph(json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail))


@pytest.mark.parametrize(
    ("given", "read_back"), [(True, 1), (3, 3), (0.25, 0.25), (-1e-300, -1e-300), (math.nan, None)]
)
def test_every_reader_takes_a_weight_for_a_number(tmp_path: Path, given: object, read_back: float | None) -> None:
    graph = nx.Graph()
    graph.add_edge("x", "y", weight=given)
    graph.add_edge("y", "z", weight=given)
    graphml, gexf = write_graphml(graph, tmp_path / "a.graphml"), write_gexf(graph, tmp_path / "a.gexf")
    assert faults(graphml, GRAPHML) == faults(gexf, GEXF) == []
    for found in (nx.read_graphml(graphml), nx.read_gexf(gexf, version="1.3")):
        assert [values.get("weight") for _, _, values in found.edges(data=True)] == [read_back, read_back]
    edges = igraph.Graph.Read_GraphML(str(graphml)).es
    assert (edges["weight"] if "weight" in edges.attributes() else [None] * 2) == [read_back, read_back]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=())), max_size=6))
def test_any_tokens_survive_every_format(tmp_path_factory: pytest.TempPathFactory, tokens: list[str]) -> None:
    folder = tmp_path_factory.mktemp("any")
    graph = nx.Graph()
    for i, token in enumerate(tokens):
        graph.add_node(f"n{i}", text=token)
    read = {
        "graphml": nx.read_graphml(write_graphml(graph, folder / "a")),
        "gexf": nx.read_gexf(write_gexf(graph, folder / "b"), version="1.3"),
        "json": read_json(write_node_link(graph, folder / "c")),
    }
    for found in read.values():
        assert [unescape(found.nodes[f"n{i}"]["text"]) for i in range(len(tokens))] == tokens
    vertices = igraph.Graph.Read_GraphML(str(folder / "a")).vs
    assert [unescape(vertex["text"]) for vertex in vertices] == tokens


@pytest.mark.parametrize("write", [write_graphml, write_gexf, write_node_link])
def test_equal_graphs_give_equal_bytes(tmp_path: Path, graph: nx.Graph, write: Callable[..., Path]) -> None:
    first, second = (write(graph, tmp_path / name).read_bytes() for name in "ab")
    assert first == second


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    plain_file, replaced = tmp_path / "plain", tmp_path / "replaced"
    plain_file.touch()
    with replacing_text(replaced) as file:
        file.write("x")
    assert stat.S_IMODE(replaced.stat().st_mode) == stat.S_IMODE(plain_file.stat().st_mode)


def test_all_formats_at_once_are_the_single_ones(tmp_path: Path) -> None:
    graph = nx.DiGraph(name="x")
    graph.add_node((0, 1), tokens=["\x00", "b"], density=0.5)
    graph.add_edge((0, 1), (1, 2), weight=0.25)
    files = write_graph(graph, tmp_path / "A-B.w16.activation", ".graph.json")
    assert [path.name.removeprefix("A-B.w16.activation") for path in files] == [
        ".graphml",
        ".gexf",
        ".cyjs",
        ".graph.json",
    ]
    for path, write in zip(files, (write_graphml, write_gexf, write_cytoscape, write_node_link), strict=True):
        assert path.read_bytes() == write(graph, tmp_path / "one").read_bytes()

"""What is written is read by the tools it is written for: networkx, igraph, strict JSON, strict XML."""

import json
import math
import os
import stat
import xml.sax
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import igraph
import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schema import GEXF, GRAPHML, faults

from universality.errors import UniversalityError
from universality.export import cytoscape, plain, unescape, write_gexf, write_graphml, write_node_link
from universality.files import replacing_text


def read_json(path: Path) -> nx.Graph:
    return nx.node_link_graph(json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail))


def same(found: nx.Graph, expected: nx.Graph) -> None:
    """Same nodes, edges and attributes."""
    assert found.is_directed() == expected.is_directed()
    assert dict(found.nodes(data=True)) == dict(expected.nodes(data=True))
    assert set(found.edges) == set(expected.edges)
    for edge in expected.edges:  # GEXF numbers its edges
        assert {k: v for k, v in found.edges[edge].items() if k != "id"} == expected.edges[edge]


def test_networkx_reads_graphml(tmp_path: Path, graph: nx.Graph, nasty: list[str]) -> None:
    found = nx.read_graphml(write_graphml(graph, tmp_path / "a.graphml"))
    same(found, plain(graph))
    assert [unescape(found.nodes[n]["label"]) for n in found] == nasty
    if graph.is_directed():
        assert json.loads(unescape(found.graph["provenance"])) == {"model": "a\x07", "seed": 1}


def test_igraph_reads_graphml(tmp_path: Path, graph: nx.Graph, nasty: list[str]) -> None:
    found = igraph.Graph.Read_GraphML(str(write_graphml(graph, tmp_path / "a.graphml")))
    assert found.is_directed() == graph.is_directed()
    assert [unescape(label) for label in found.vs["label"]] == nasty
    assert found.vs["id"] == list(plain(graph).nodes)
    assert found.vs["feature"] == list(range(len(nasty)))
    assert found.vs["alive"] == [i != 3 for i in range(len(nasty))]
    assert math.isnan(found.vs["density"][0])
    assert found.vs["density"][1:] == [0.1 * i for i in range(1, len(nasty))]
    assert [edge.tuple for edge in found.es] == [(i - 1, i) for i in range(1, len(nasty))]
    assert found.es["weight"] == [1 / i for i in range(1, len(nasty))]
    assert math.isnan(found.es["coverage"][1])


def test_graphml_is_valid_for_readers_that_follow_xml_schema(tmp_path: Path, graph: nx.Graph) -> None:
    path = write_graphml(graph, tmp_path / "a.graphml")
    xml.sax.parse(str(path), xml.sax.ContentHandler())
    root = ElementTree.parse(path).getroot()
    space = {"g": "http://graphml.graphdrawing.org/xmlns"}
    types = {key.get("id"): key.get("attr.type") for key in root.findall("g:key", space)}
    assert set(types.values()) == {"string", "long", "double", "boolean"}
    for data in root.iterfind(".//g:data", space):
        kind, text = types[data.get("key")], data.text or ""
        assert kind != "boolean" or text in ("true", "false")
        assert kind not in ("double", "long") or math.isfinite(float(text))


def test_networkx_reads_gexf(tmp_path: Path, graph: nx.Graph, nasty: list[str]) -> None:
    found = nx.read_gexf(write_gexf(graph, tmp_path / "a.gexf"), version="1.3")
    same(found, plain(graph))
    assert [unescape(found.nodes[n]["label"]) for n in found] == nasty


def test_gexf_of_a_graph_without_attributes(tmp_path: Path) -> None:
    found = nx.read_gexf(write_gexf(nx.path_graph(3), tmp_path / "a.gexf"), version="1.3")
    assert set(found.edges) == {("0", "1"), ("1", "2")}


def test_networkx_reads_node_link(tmp_path: Path, graph: nx.Graph, nasty: list[str]) -> None:
    same(read_json(write_node_link(graph, tmp_path / "a.json")), plain(graph))


def test_node_link_names_its_edges_as_asked(tmp_path: Path, graph: nx.Graph) -> None:
    path = write_node_link(graph, tmp_path / "a.json", edges="links")
    assert len(json.loads(path.read_text(encoding="utf-8"))["links"]) == graph.number_of_edges()


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


def test_numbers_as_names_of_attributes_are_read_back(tmp_path: Path) -> None:
    graph = nx.Graph()
    graph.add_node("x", **{"5": 4, "b": 1})
    assert nx.read_graphml(write_graphml(graph, tmp_path / "a")).nodes["x"] == {"5": 4, "b": 1}
    assert igraph.Graph.Read_GraphML(str(tmp_path / "a")).vs["5"] == [4]


def test_names_that_cytoscape_keeps_do_not_take_those_of_others(tmp_path: Path) -> None:
    graph = nx.Graph(name="x")
    assert cytoscape(graph)["data"] == {"attribute_name": "x"}
    graph.graph["attribute_name"] = "y"
    with pytest.raises(UniversalityError, match="attributes 'name' and 'attribute_name' would both be written"):
        cytoscape(graph)


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


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail_half_way() -> None:
        with replacing_text(path) as file:
            file.write("new")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    plain_file, replaced = tmp_path / "plain", tmp_path / "replaced"
    plain_file.touch()
    with replacing_text(replaced) as file:
        file.write("x")
    assert stat.S_IMODE(replaced.stat().st_mode) == stat.S_IMODE(plain_file.stat().st_mode)

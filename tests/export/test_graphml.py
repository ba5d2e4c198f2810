"""networkx, igraph and strict XML readers read the GraphML that is written."""

import json
import math
import xml.sax
from pathlib import Path
from xml.etree import ElementTree

import igraph
import networkx as nx
from schema import same

from universality.export import plain, unescape, write_graphml


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


def test_numbers_as_names_of_attributes_are_read_back(tmp_path: Path) -> None:
    graph = nx.Graph()
    graph.add_node("x", **{"5": 4, "b": 1})
    assert nx.read_graphml(write_graphml(graph, tmp_path / "a")).nodes["x"] == {"5": 4, "b": 1}
    assert igraph.Graph.Read_GraphML(str(tmp_path / "a")).vs["5"] == [4]

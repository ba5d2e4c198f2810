"""Names, types and missing values are settled before any format sees them."""

import json
import math

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from universality.errors import UniversalityError
from universality.export.csv_cells import split_tokens
from universality.export.plain_graph import attribute_types, plain
from universality.export.token_escapes import unescape


def test_names_become_text_and_the_graph_stays_as_it_is() -> None:
    graph = nx.DiGraph()
    graph.add_edge((0, 5), (1, 7), weight=np.float32(0.5))
    graph.add_node("odd\x07")
    flat = plain(graph)
    assert list(flat.nodes) == ["0:5", "1:7", r"odd\x07"]
    assert flat.is_directed()
    assert flat.edges["0:5", "1:7"] == {"weight": 0.5}
    assert type(flat.edges["0:5", "1:7"]["weight"]) is float
    assert type(graph.edges[(0, 5), (1, 7)]["weight"]) is np.float32


def test_an_undirected_graph_stays_undirected() -> None:
    assert not plain(nx.path_graph(3)).is_directed()


def test_missing_values_are_left_out() -> None:
    graph = nx.Graph()
    graph.add_node("a", none=None, nan=math.nan, na=pd.NA, nat=pd.NaT, zero=0.0, empty="")
    assert plain(graph).nodes["a"] == {"zero": 0.0, "empty": ""}


def test_one_type_an_attribute() -> None:
    graph = nx.Graph()
    graph.add_node("a", x=1, y=True, z=np.int64(3))
    graph.add_node("b", x=0.5, y=2, z=np.int16(4))
    flat = plain(graph)
    assert attribute_types(values for _, values in flat.nodes(data=True)) == {"x": float, "y": int, "z": int}
    assert [type(flat.nodes[n]["x"]) for n in "ab"] == [float, float]
    assert [type(flat.nodes[n]["y"]) for n in "ab"] == [int, int]


def test_structures_become_json() -> None:
    graph = nx.Graph(provenance={"b": [1, math.nan], "a": np.arange(2), "text": "\x07", "n": np.int32(3)})
    text = unescape(plain(graph).graph["provenance"])
    assert json.loads(text) == {"a": [0, 1], "b": [1, None], "text": "\x07", "n": 3}
    assert plain(nx.Graph(some={3, 1, 2})).graph["some"] == "[1, 2, 3]"
    assert plain(nx.Graph(some=[])).graph["some"] == "[]"


def test_lists_of_texts_are_joined_as_in_a_cell() -> None:
    graph = nx.Graph()
    graph.add_node("a", tokens=["\x07", "a|b", " the"])
    joined = plain(graph).nodes["a"]["tokens"]
    assert joined == r"\x07|a\x7cb| the"
    assert split_tokens(joined) == ["\x07", "a|b", " the"]


def test_multigraph_is_refused() -> None:
    with pytest.raises(UniversalityError, match="found a multigraph"):
        plain(nx.MultiDiGraph())


def test_infinity_is_refused() -> None:
    graph = nx.Graph()
    graph.add_edge(0, 1, weight=math.inf)
    with pytest.raises(UniversalityError, match="edge 0-1, attribute 'weight' is inf: expected a finite number"):
        plain(graph)


def test_text_beside_numbers_is_refused() -> None:
    graph = nx.Graph()
    graph.add_node(0, x=1)
    graph.add_node(1, x="one")
    with pytest.raises(UniversalityError, match="node attribute 'x' is int in one place and str in another"):
        plain(graph)


def test_two_nodes_of_one_written_name_are_refused() -> None:
    graph = nx.Graph()
    graph.add_nodes_from(["0:1", (0, 1)])
    with pytest.raises(UniversalityError, match="would both be written '0:1'"):
        plain(graph)


@pytest.mark.parametrize(("first", "second"), [(5, "5"), ((1, 2), (1, "2")), (True, "True")])
def test_nodes_that_are_written_alike_are_refused(first: object, second: object) -> None:
    graph = nx.Graph()
    graph.add_nodes_from([first, second])
    with pytest.raises(UniversalityError, match=r"nodes .* and .* would both be written .*; rename one of them"):
        plain(graph)


@pytest.mark.parametrize("where", ["node", "nodes", "edge", "graph", "inside"])
def test_attributes_that_are_written_alike_are_refused(where: str) -> None:
    graph = nx.Graph()
    graph.add_edge("x", "y")
    holders = {
        "node": (graph.nodes["x"], graph.nodes["x"]),
        "nodes": (graph.nodes["x"], graph.nodes["y"]),
        "edge": (graph.edges["x", "y"], graph.edges["x", "y"]),
        "graph": (graph.graph, graph.graph),
        "inside": (graph.graph.setdefault("settings", {}),) * 2,
    }
    first, second = holders[where]
    first[5] = 1
    plain(graph)  # the control: a number alone is a name
    second["5"] = 2
    with pytest.raises(UniversalityError, match=r"5 and '5' would both be written '5'; rename one of them"):
        plain(graph)


@pytest.mark.parametrize("weight", [True, np.True_, False])
def test_a_boolean_weight_becomes_a_number(weight: object) -> None:
    graph = nx.Graph()
    graph.add_edge(0, 1, weight=weight, sure=True)
    assert plain(graph).edges["0", "1"] == {"weight": int(bool(weight)), "sure": True}
    assert type(plain(graph).edges["0", "1"]["weight"]) is int


def test_a_weight_that_is_text_is_refused() -> None:
    graph = nx.Graph()
    graph.add_edge(0, 1, weight="0.5")
    with pytest.raises(UniversalityError, match=r"edge 0-1, attribute 'weight' is the text '0\.5': graph readers take"):
        plain(graph)
    graph = nx.Graph()
    graph.add_node(0, weight="heavy")  # of a node it is an attribute as any other
    assert plain(graph).nodes["0"] == {"weight": "heavy"}


def test_integers_of_more_than_64_bits_are_refused() -> None:
    graph = nx.Graph()
    graph.add_node(0, n=2**63 - 1)
    plain(graph)
    graph.add_node(0, n=2**63)
    with pytest.raises(UniversalityError, match="node 0, attribute 'n' is an integer of 64 bits: expected 63 or fewer"):
        plain(graph)


def test_reserved_names_are_refused() -> None:
    graph = nx.Graph()
    graph.add_node(0, id="mine")
    with pytest.raises(UniversalityError, match="node attribute 'id' is a reserved name"):
        plain(graph)


@pytest.mark.parametrize("name", ["", "a\x07", "back\\slash"])
def test_names_of_attributes_are_checked(name: str) -> None:
    graph = nx.Graph()
    graph.add_node(0, **{name: 1})
    with pytest.raises(UniversalityError, match="expected a name without control characters"):
        plain(graph)


def test_foreign_values_are_refused() -> None:
    with pytest.raises(
        UniversalityError, match="expected a number, text, or a list or dictionary of those, found object"
    ):
        plain(nx.Graph(thing=object()))

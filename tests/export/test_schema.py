"""Written graphs obey the formats' schemas, whatever the tokens; Cytoscape's JSON has its form."""

from pathlib import Path

import networkx as nx
import pytest
from schema import GEXF, GRAPHML, faults

from universality.export import write_gexf, write_graphml

UNKIND = ["<script>&\"'", "\x00\x1f", "\ud800", "\u202eevil", "\ufffe", "a" * 10_000, "\udce2", "]]>", ""]


@pytest.fixture(params=[nx.Graph, nx.DiGraph])
def graph(request: pytest.FixtureRequest) -> nx.Graph:
    made = request.param(name="x<y", pairs=3)
    for i, token in enumerate(UNKIND):
        made.add_node((0, i), tokens=[token, "b"], label=token, density=0.1 * i, dead=i % 2 == 0, feature=i)
    made.add_edge((0, 0), (0, 1), weight=0.5, note="\x01")
    made.add_edge((0, 1), (0, 2), weight=float("nan"))
    return made


def test_graphml_and_gexf_obey_their_schemas(graph: nx.Graph, tmp_path: Path) -> None:
    assert faults(write_graphml(graph, tmp_path / "g.graphml"), GRAPHML) == []
    assert faults(write_gexf(graph, tmp_path / "g.gexf"), GEXF) == []


def test_the_check_sees_faults(graph: nx.Graph, tmp_path: Path) -> None:
    path = write_graphml(graph, tmp_path / "g.graphml")
    good = path.read_text(encoding="utf-8")
    for old, new, said in (
        ('target="0:1"', 'target="9:9"', "edge to 9:9"), (">true<", ">True<", "value 'True'"),
        ('edgedefault="', 'default="', "graph: no edgedefault"), ('<node id="0:1"', '<node id="0:0"', "two nodes"),
        ("<graph ", "<grid/><graph ", "element grid"),
    ):  # fmt: skip
        path.write_text(good.replace(old, new), encoding="utf-8")
        assert any(said in fault for fault in faults(path, GRAPHML)), said


def test_the_check_sees_a_weight_that_is_no_number(graph: nx.Graph, tmp_path: Path) -> None:
    path = write_gexf(graph, tmp_path / "g.gexf")
    good = path.read_text(encoding="utf-8")
    for weight in ("True", "heavy", "inf"):
        path.write_text(good.replace('weight="0.5"', f'weight="{weight}"'), encoding="utf-8")
        assert faults(path, GEXF) == [f"weight {weight}"]

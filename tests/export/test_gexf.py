"""networkx reads the GEXF that is written."""

from pathlib import Path

import networkx as nx
from schema import same

from universality.export import plain, unescape, write_gexf


def test_networkx_reads_gexf(tmp_path: Path, graph: nx.Graph, nasty: list[str]) -> None:
    found = nx.read_gexf(write_gexf(graph, tmp_path / "a.gexf"), version="1.3")
    same(found, plain(graph))
    assert [unescape(found.nodes[n]["label"]) for n in found] == nasty


def test_gexf_of_a_graph_without_attributes(tmp_path: Path) -> None:
    found = nx.read_gexf(write_gexf(nx.path_graph(3), tmp_path / "a.gexf"), version="1.3")
    assert set(found.edges) == {("0", "1"), ("1", "2")}

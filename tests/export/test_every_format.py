"""`write_graph` writes what the single writers write."""

from pathlib import Path

import networkx as nx

from universality.export import write_cytoscape, write_gexf, write_graph, write_graphml, write_node_link


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

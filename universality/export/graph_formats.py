"""One graph in every format, made plain once."""

from pathlib import Path
from typing import TYPE_CHECKING

from universality.export.cytoscape_json import cytoscape_text
from universality.export.gexf import gexf_lines
from universality.export.graphml import graphml_lines
from universality.export.node_link_json import node_link_text
from universality.export.plain_graph import plain
from universality.files import as_path, replacing_text

if TYPE_CHECKING:
    import networkx as nx


def write_graph(graph: "nx.Graph", stem: str | Path, node_link: str = ".json") -> list[Path]:
    """Write ``stem.graphml``, ``.gexf``, ``.cyjs`` and node-link JSON under the ending ``node_link``, each atomically.

    Parameters as ``write_graphml``.
    """
    flat = plain(graph)
    texts = {
        ".graphml": lambda: "\n".join(graphml_lines(flat)) + "\n",
        ".gexf": lambda: "\n".join(gexf_lines(flat)) + "\n",
        ".cyjs": lambda: cytoscape_text(flat),
        node_link: lambda: node_link_text(flat),
    }
    files = []
    for ending, text in texts.items():
        path = as_path(f"{stem}{ending}")
        with replacing_text(path) as file:
            file.write(text())
        files.append(path)
    return files

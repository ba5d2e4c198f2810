"""Writing of one graph in one format or in all of them."""

from pathlib import Path
from typing import TYPE_CHECKING

from universality.errors import UniversalityError
from universality.export.cytoscape_json import cytoscape_text, write_cytoscape
from universality.export.gexf import gexf_lines, write_gexf
from universality.export.graphml import graphml_lines, write_graphml
from universality.export.node_link_json import node_link_text, write_node_link
from universality.export.plain_graph import plain
from universality.files import as_path, replacing_text

if TYPE_CHECKING:
    import networkx as nx

_WRITERS = {".graphml": write_graphml, ".gexf": write_gexf, ".cyjs": write_cytoscape, ".json": write_node_link}


def write_graph(graph: "nx.Graph", stem: str | Path, node_link: str = ".json") -> list[Path]:
    """Write a graph as GraphML, GEXF, Cytoscape JSON and node-link JSON, each atomically.

    Parameters
    ----------
    graph
        See ``write_graphml``.
    stem
        Path without its ending; files end in ``.graphml``, ``.gexf``, ``.cyjs`` and ``node_link``.
    node_link
        Ending of the node-link JSON file.

    Returns
    -------
    list of Path
        Paths of the four files.

    Examples
    --------
    >>> import networkx as nx, tempfile
    >>> graph = nx.Graph()
    >>> graph.add_edge(("A", 3), ("B", 7), weight=0.9)
    >>> files = write_graph(graph, Path(tempfile.mkdtemp()) / "match")
    >>> [file.name for file in files]
    ['match.graphml', 'match.gexf', 'match.cyjs', 'match.json']
    >>> sorted(nx.read_graphml(files[0]).nodes)
    ['A:3', 'B:7']
    """
    flat = plain(graph)  # once: it is the most expensive part
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


def write_graph_file(graph: "nx.Graph", path: str | Path) -> Path:
    """Write a graph in the format that the file's ending names.

    Parameters
    ----------
    graph
        See ``write_graphml``.
    path
        Output file, ending in ``.graphml``, ``.gexf``, ``.cyjs`` (Cytoscape) or ``.json`` (node-link).

    Raises
    ------
    UniversalityError
        If the ending is another.
    """
    writer = _WRITERS.get(as_path(path).suffix)
    if writer is None:
        raise UniversalityError(f"{path}: expected a file that ends in one of {', '.join(_WRITERS)}")
    return writer(graph, path)

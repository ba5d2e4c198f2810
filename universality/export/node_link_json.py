"""Node-link JSON, which networkx, d3 and Cytoscape's JSON import read.

``{"directed", "multigraph", "graph", "nodes": [{"id", …}], "edges": [{"source", "target", …}]}`` in strict JSON
(RFC 8259: no NaN). Names and values are those of `universality.export.plain_graph`.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from universality.export.plain_graph import plain
from universality.files import as_path, replacing_text

if TYPE_CHECKING:
    import networkx as nx


def write_node_link(graph: "nx.Graph", path: str | Path, edges: str = "edges") -> Path:
    """Write a graph as node-link JSON, atomically.

    Parameters
    ----------
    graph, path
        See ``write_graphml``.
    edges
        Key of the list of edges: networkx uses ``"edges"`` since version 3.4, d3 uses ``"links"``.
    """
    with replacing_text(path) as file:
        file.write(node_link_text(plain(graph), edges))
    return as_path(path)


def node_link_text(graph: "nx.Graph", edges: str = "edges") -> str:
    """Return the text of the file, with one node or edge per line, for a graph from ``plain``."""
    head = {"directed": graph.is_directed(), "multigraph": False, "graph": dict(graph.graph)}
    lists = {
        "nodes": [{"id": node, **values} for node, values in graph.nodes(data=True)],
        edges: [{"source": a, "target": b, **values} for a, b, values in graph.edges(data=True)],
    }
    parts = [f'"{key}": {_json(value)}' for key, value in head.items()]
    parts += [f'"{key}": [\n' + ",\n".join(map(_json, items)) + "\n]" for key, items in lists.items()]
    return "{" + ",\n".join(parts) + "}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)

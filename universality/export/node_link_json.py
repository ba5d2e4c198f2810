"""Node-link JSON: what networkx reads back, and what d3 and Cytoscape's JSON import read.

``{"directed", "multigraph", "graph", "nodes": [{"id", …}], "edges": [{"source", "target", …}]}``, strict JSON
(RFC 8259: no NaN), with names and values as ``universality.export.plain_graph`` makes them for every format.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from universality.export.plain_graph import plain
from universality.files import as_path, replacing_text

if TYPE_CHECKING:
    import networkx as nx


def node_link(graph: "nx.Graph", edges: str = "edges") -> dict[str, Any]:
    """The graph as JSON values.

    Parameters
    ----------
    graph
        As for ``write_graphml``.
    edges
        Name of the list of edges: ``"edges"`` is networkx's since 3.4, ``"links"`` d3's.
    """
    return node_link_of(plain(graph), edges)


def node_link_of(flat: "nx.Graph", edges: str = "edges") -> dict[str, Any]:
    """The same of a graph that ``plain`` has made."""
    return {
        "directed": flat.is_directed(),
        "multigraph": False,
        "graph": dict(flat.graph),
        "nodes": [{"id": node, **values} for node, values in flat.nodes(data=True)],
        edges: [{"source": a, "target": b, **values} for a, b, values in flat.edges(data=True)],
    }


def write_node_link(graph: "nx.Graph", path: str | Path, edges: str = "edges") -> Path:
    """Write a graph as node-link JSON, atomically; parameters as ``node_link``."""
    with replacing_text(path) as file:
        file.write(node_link_text(plain(graph), edges))
    return as_path(path)


def node_link_text(flat: "nx.Graph", edges: str = "edges") -> str:
    """The file's text, a node or an edge a line, of a graph that ``plain`` has made."""
    data = node_link_of(flat, edges)
    lists = {name: data.pop(name) for name in ("nodes", edges)}
    parts = [f'"{key}": {_json(value)}' for key, value in data.items()]
    parts += [f'"{key}": [\n' + ",\n".join(map(_json, items)) + "\n]" for key, items in lists.items()]
    return "{" + ",\n".join(parts) + "}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)

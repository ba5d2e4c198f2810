"""Cytoscape JSON (``.cyjs``), which Cytoscape opens as a network and cytoscape.js reads as ``elements``.

Nodes and edges are ``{"data": {…}}`` with ``id``, ``source`` and ``target`` inside. Names and values are those of
`universality.export.plain_graph`.

Reference: https://js.cytoscape.org/#notation/elements-json
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from universality.errors import UniversalityError
from universality.export.plain_graph import plain
from universality.files import as_path, replacing_text

if TYPE_CHECKING:
    import networkx as nx

_RENAMED = {name: f"attribute_{name}" for name in ("name", "value", "selected", "SUID")}
"""Names that Cytoscape fills itself; networkx's reader uses ``value`` as the node."""


def write_cytoscape(graph: "nx.Graph", path: str | Path) -> Path:
    """Write a graph as Cytoscape JSON, atomically; parameters as ``write_graphml``."""
    with replacing_text(path) as file:
        file.write(cytoscape_text(plain(graph)))
    return as_path(path)


def cytoscape_text(graph: "nx.Graph") -> str:
    """Return the text of the file for a graph from ``plain``."""
    nodes = [
        {"data": {"id": node, "name": node, "value": node, **_renamed(values)}}
        for node, values in graph.nodes(data=True)
    ]
    edges = [
        {"data": {"id": f"e{i}", "source": a, "target": b, **_renamed(values)}}
        for i, (a, b, values) in enumerate(graph.edges(data=True))
    ]
    network = {
        "format_version": "1.0",
        "data": _renamed(graph.graph),
        "directed": graph.is_directed(),
        "multigraph": False,
        "elements": {"nodes": nodes, "edges": edges},
    }
    return json.dumps(network, ensure_ascii=False, allow_nan=False) + "\n"


def _renamed(values: Any) -> dict[str, Any]:
    """Rename attributes whose names Cytoscape reserves."""
    renamed = {_RENAMED.get(name, name): value for name, value in values.items()}
    if len(renamed) < len(values):
        name = next(name for name, other in _RENAMED.items() if name in values and other in values)
        raise UniversalityError(
            f"attributes {name!r} and {_RENAMED[name]!r} would both be written {_RENAMED[name]!r} for Cytoscape, which "
            "keeps the first name for itself; rename one of them"
        )
    return renamed

"""Cytoscape's own JSON (``.cyjs``), which Cytoscape opens as a network and cytoscape.js takes as ``elements``.

Nodes and edges are ``{"data": {…}}`` with ``id``, ``source`` and ``target`` inside; names and values as
``universality.export.plain_graph`` makes them for every format.

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
"""Cytoscape fills these itself; networkx's reader takes ``value`` for the node."""


def cytoscape(graph: "nx.Graph") -> dict[str, Any]:
    """The graph as JSON values; parameters as ``write_graphml``."""
    return cytoscape_of(plain(graph))


def cytoscape_of(flat: "nx.Graph") -> dict[str, Any]:
    """The same of a graph that ``plain`` has made."""
    return {
        "format_version": "1.0",
        "data": _kept(flat.graph),
        "directed": flat.is_directed(),
        "multigraph": False,
        "elements": {
            "nodes": [
                {"data": {"id": node, "name": node, "value": node, **_kept(values)}}
                for node, values in flat.nodes(data=True)
            ],
            "edges": [
                {"data": {"id": f"e{i}", "source": a, "target": b, **_kept(values)}}
                for i, (a, b, values) in enumerate(flat.edges(data=True))
            ],
        },
    }


def write_cytoscape(graph: "nx.Graph", path: str | Path) -> Path:
    """Write a graph as Cytoscape JSON, atomically; parameters as ``write_graphml``."""
    with replacing_text(path) as file:
        file.write(cytoscape_text(plain(graph)))
    return as_path(path)


def cytoscape_text(flat: "nx.Graph") -> str:
    """The file's text, of a graph that ``plain`` has made."""
    return json.dumps(cytoscape_of(flat), ensure_ascii=False, allow_nan=False) + "\n"


def _kept(values: Any) -> dict[str, Any]:
    kept = {_RENAMED.get(name, name): value for name, value in values.items()}
    if len(kept) < len(values):
        name = next(name for name, other in _RENAMED.items() if name in values and other in values)
        raise UniversalityError(
            f"attributes {name!r} and {_RENAMED[name]!r} would both be written {_RENAMED[name]!r} for Cytoscape, which "
            "keeps the first name for itself; rename one of them"
        )
    return kept

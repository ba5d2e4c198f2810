"""GraphML, which networkx, igraph, Gephi and Cytoscape all read.

networkx's own writer is not used: it writes booleans as ``True`` (XML Schema requires ``true``) and declares an
attribute once per Python type among its values. Its GEXF writer also puts the date into the file, so that equal graphs
give different bytes.

Reference: http://graphml.graphdrawing.org/specification.html
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape as xml_text
from xml.sax.saxutils import quoteattr

from universality.export.plain_graph import Scalar, attribute_types, plain
from universality.files import as_path, replacing_text

if TYPE_CHECKING:
    import networkx as nx

_NAMESPACE = "http://graphml.graphdrawing.org/xmlns"
_TYPE = {bool: "boolean", int: "long", float: "double", str: "string"}


def write_graphml(graph: "nx.Graph", path: str | Path) -> Path:
    """Write a graph as GraphML, atomically.

    Parameters
    ----------
    graph
        Graph from ``Match.to_graph()`` or ``Families.graph``, or any networkx graph that
        `universality.export.plain_graph.plain` accepts; that module describes names, types and missing values.
    path
        Output file, replaced if it exists.

    Returns
    -------
    Path
        Path of the file.
    """
    with replacing_text(path) as file:
        for line in graphml_lines(plain(graph)):
            file.write(line + "\n")
    return as_path(path)


def graphml_lines(graph: "nx.Graph") -> Iterator[str]:
    """Yield the lines of the file for a graph from ``plain``."""
    types = {
        "graph": attribute_types([graph.graph]),
        "node": attribute_types(values for _, values in graph.nodes(data=True)),
        "edge": attribute_types(values for _, _, values in graph.edges(data=True)),
    }
    keys = {(scope, name): f"{scope[0]}{i}" for scope in types for i, name in enumerate(types[scope])}
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<graphml xmlns="{_NAMESPACE}">'
    for (scope, name), key in keys.items():
        value_type = _TYPE[types[scope][name]]
        yield f'  <key id="{key}" for="{scope}" attr.name={quoteattr(name)} attr.type="{value_type}"/>'
    yield f'  <graph edgedefault="{"directed" if graph.is_directed() else "undirected"}">'
    yield from _data("graph", graph.graph, keys, "    ")
    for node, values in graph.nodes(data=True):
        yield f"    <node id={quoteattr(node)}>"
        yield from _data("node", values, keys, "      ")
        yield "    </node>"
    for source, target, values in graph.edges(data=True):
        yield f"    <edge source={quoteattr(source)} target={quoteattr(target)}>"
        yield from _data("edge", values, keys, "      ")
        yield "    </edge>"
    yield "  </graph>"
    yield "</graphml>"


def _data(scope: str, values: Mapping[str, Scalar], keys: dict[tuple[str, str], str], indent: str) -> Iterator[str]:
    for name, value in values.items():
        # Only < > & need escapes here: ``plain`` has escaped the characters that XML 1.0 forbids.
        text = ("false", "true")[value] if isinstance(value, bool) else xml_text(str(value))
        yield f'{indent}<data key="{keys[scope, name]}">{text}</data>'

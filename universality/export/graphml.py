"""GraphML: what networkx, igraph, Gephi and Cytoscape all read.

The writer is ours because networkx's spells booleans ``True`` (XML Schema wants ``true``) and declares an
attribute once for every Python type it meets in it; its GEXF writer also puts the date into the file, so that
equal graphs differ in their bytes.

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
        From ``Match.to_graph()`` or ``Families.graph``, or any networkx graph that
        ``universality.export.plain_graph.plain`` accepts (it says what becomes of names, types and missing values).
    path
        Replaced if it exists.

    Returns
    -------
    Path
        Where it was written.
    """
    with replacing_text(path) as file:
        for line in graphml_lines(plain(graph)):
            file.write(line + "\n")
    return as_path(path)


def graphml_lines(graph: "nx.Graph") -> Iterator[str]:
    """The lines of the file, of a graph that ``plain`` has made."""
    types = {
        "graph": attribute_types([graph.graph]),
        "node": attribute_types(values for _, values in graph.nodes(data=True)),
        "edge": attribute_types(values for _, _, values in graph.edges(data=True)),
    }
    keys = {(scope, name): f"{scope[0]}{i}" for scope in types for i, name in enumerate(types[scope])}
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<graphml xmlns="{_NAMESPACE}">'
    for (scope, name), key in keys.items():
        kind = _TYPE[types[scope][name]]
        yield f'  <key id="{key}" for="{scope}" attr.name={quoteattr(name)} attr.type="{kind}"/>'
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
        text = ("false", "true")[value] if isinstance(value, bool) else xml_text(str(value))
        yield f'{indent}<data key="{keys[scope, name]}">{text}</data>'

"""GEXF 1.3, Gephi's native format, which networkx reads too.

The ``label`` of a node and the ``weight`` of an edge become attributes of GEXF itself, which Gephi uses at once; all
others are ``attvalue`` elements. GEXF has no attributes of a graph, so these are stored as JSON in the description.

Reference: https://gexf.net/schema.html
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape as xml_text
from xml.sax.saxutils import quoteattr

from universality.export.plain_graph import Scalar, attribute_types, plain
from universality.files import as_path, replacing_text

if TYPE_CHECKING:
    import networkx as nx

_NAMESPACE = "http://gexf.net/1.3"
_TYPE = {bool: "boolean", int: "long", float: "double", str: "string"}
_BUILT_IN = {"node": "label", "edge": "weight"}


def write_gexf(graph: "nx.Graph", path: str | Path) -> Path:
    """Write a graph as GEXF, atomically; parameters and refusals as ``write_graphml``."""
    with replacing_text(path) as file:
        for line in gexf_lines(plain(graph)):
            file.write(line + "\n")
    return as_path(path)


def gexf_lines(graph: "nx.Graph") -> Iterator[str]:
    """Yield the lines of the file for a graph from ``plain``."""
    node_types = attribute_types(values for _, values in graph.nodes(data=True))
    edge_types = attribute_types(values for _, _, values in graph.edges(data=True))
    direction = "directed" if graph.is_directed() else "undirected"
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<gexf xmlns="{_NAMESPACE}" version="1.3">'
    # quoteattr and xml_text escape < > & and quotes; ``plain`` has escaped the characters that XML 1.0 forbids.
    description = json.dumps(graph.graph, ensure_ascii=False, sort_keys=True)
    yield f"  <meta><description>{xml_text(description)}</description></meta>"
    yield f'  <graph mode="static" defaultedgetype="{direction}">'
    node_keys, edge_keys = _keys("node", node_types), _keys("edge", edge_types)
    yield from _declarations("node", node_types, node_keys)
    yield from _declarations("edge", edge_types, edge_keys)
    yield "    <nodes>"
    for node, values in graph.nodes(data=True):
        label = str(values.get("label", node))
        yield f"      <node id={quoteattr(node)} label={quoteattr(label)}>"
        yield from _values(values, node_keys)
        yield "      </node>"
    yield "    </nodes>"
    yield "    <edges>"
    for i, (source, target, values) in enumerate(graph.edges(data=True)):
        weight = f' weight="{values["weight"]}"' if "weight" in values else ""
        yield f'      <edge id="{i}" source={quoteattr(source)} target={quoteattr(target)}{weight}>'
        yield from _values(values, edge_keys)
        yield "      </edge>"
    yield "    </edges>"
    yield "  </graph>"
    yield "</gexf>"


def _keys(scope: str, types: Mapping[str, type]) -> dict[str, str]:
    """Number the attributes that are not built into GEXF."""
    return {name: str(i) for i, name in enumerate(name for name in types if name != _BUILT_IN[scope])}


def _declarations(scope: str, types: Mapping[str, type], keys: Mapping[str, str]) -> Iterator[str]:
    if keys:
        yield f'    <attributes class="{scope}">'
        for name, key in keys.items():
            yield f'      <attribute id="{key}" title={quoteattr(name)} type="{_TYPE[types[name]]}"/>'
        yield "    </attributes>"


def _values(values: Mapping[str, Scalar], keys: Mapping[str, str]) -> Iterator[str]:
    present = {name: value for name, value in values.items() if name in keys}
    if present:
        yield "        <attvalues>"
        for name, value in present.items():
            text = ("false", "true")[value] if isinstance(value, bool) else str(value)
            yield f'          <attvalue for="{keys[name]}" value={quoteattr(text)}/>'
        yield "        </attvalues>"

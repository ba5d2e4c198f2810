"""Reduction of a graph to what every graph format can hold: text names and one scalar type per attribute.

Formats and their readers were found to treat everything else differently, so it is settled here once:

- A missing value (None, NaN, pandas' NA) removes its attribute from that node or edge. GraphML has no null, ``nan`` is
  not a number for Java readers (Gephi, Cytoscape), and ``NaN`` is not valid JSON. An omitted number is missing in Gephi
  and Cytoscape, absent in networkx and NaN in igraph. Only igraph reads an omitted boolean as False. An attribute that
  every node lacks does not appear at all.
- Infinities are refused, because readers spell them differently, and so are integers of more than 64 bits.
- The ``weight`` of an edge is a number for every reader: true and false become 1 and 0, and text is refused.
- An attribute has one type. Booleans among integers become integers, and integers among floats become floats; text
  among numbers is refused.
- A list of texts becomes one text as in a CSV cell (`universality.export.csv_cells`: separated by ``|``). Other lists,
  dictionaries and arrays become JSON text.
- Every text except names of attributes passes through `universality.export.token_escapes`.
- Names become text: the node ``(0, 5)`` is written ``0:5`` and the attribute ``5`` as ``"5"``. Two names that would be
  written alike are refused.
"""

import json
import math
from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from universality.errors import UniversalityError
from universality.export.csv_cells import join_tokens
from universality.export.token_escapes import escape

if TYPE_CHECKING:
    import networkx as nx

Scalar = bool | int | float | str
_RESERVED = {
    "graph": frozenset[str](),
    "node": frozenset({"id"}),
    "edge": frozenset({"id", "source", "target", "key"}),
}
_ORDER: tuple[type, ...] = (bool, int, float)  # each type holds the values of those before it


def plain(graph: "nx.Graph") -> "nx.Graph":
    """Copy ``graph`` with text names and plain, consistently typed attributes.

    Parameters
    ----------
    graph
        A directed or undirected networkx graph without parallel edges; left as it is.

    Returns
    -------
    networkx.Graph
        ``DiGraph`` for a directed graph, else ``Graph``. Values are bool, int, float or str.

    Raises
    ------
    UniversalityError
        For a multigraph, two nodes or attributes with one written name, a reserved attribute name, an infinity, a
        weight that is text, or an attribute that is text on one node and a number on another.

    Examples
    --------
    >>> import networkx as nx
    >>> graph = nx.Graph()
    >>> graph.add_node((0, 5), density=None, tokens=[" the", "a"])
    >>> dict(plain(graph).nodes)
    {'0:5': {'tokens': ' the|a'}}
    """
    import networkx as nx

    if graph.is_multigraph():
        raise UniversalityError("expected a graph without parallel edges, found a multigraph; export one of its layers")
    names = _names(graph.nodes)
    node_values = _columns("node", ((str(node), values) for node, values in graph.nodes(data=True)))
    edge_values = _columns("edge", ((f"{a}-{b}", values) for a, b, values in graph.edges(data=True)))
    result = nx.DiGraph() if graph.is_directed() else nx.Graph()
    result.graph.update(_columns("graph", [("graph", graph.graph)])[0])
    result.add_nodes_from(zip(names.values(), node_values, strict=True))
    pairs = ((names[a], names[b]) for a, b in graph.edges)
    result.add_edges_from((a, b, values) for (a, b), values in zip(pairs, edge_values, strict=True))
    return result


def attribute_types(values: Iterable[Mapping[str, Scalar]]) -> dict[str, type]:
    """Return the type of each attribute of a plain graph's nodes or edges, in order of first appearance."""
    types: dict[str, type] = {}
    for attributes in values:
        for name, value in attributes.items():
            types.setdefault(name, type(value))
    return types


def _names(nodes: Iterable[Hashable]) -> dict[Hashable, str]:
    names: dict[Hashable, str] = {}
    owner: dict[str, Hashable] = {}
    for node in nodes:
        parts = node if isinstance(node, tuple) else (node,)
        name = ":".join(escape(str(part)) for part in parts)
        _refuse_alike(owner, name, node, "nodes")
        names[node] = name
    return names


def _columns(scope: str, items: Iterable[tuple[str, Mapping[Any, Any]]]) -> list[dict[str, Scalar]]:
    """Convert the values of all items, then give each attribute one type."""
    rows: list[dict[str, Scalar]] = []
    types: dict[str, type] = {}
    owner: dict[str, object] = {}
    for where, attributes in items:
        row: dict[str, Scalar] = {}
        for key, raw in attributes.items():
            name = _attribute_name(scope, key)
            _refuse_alike(owner, name, key, f"{scope} attributes")
            value = _value(raw, f"{scope} {where}, attribute {name!r}")
            if (scope, name) == ("edge", "weight"):
                value = _weight(value, f"{scope} {where}, attribute {name!r}")
            if value is None:
                continue
            row[name] = value
            types[name] = _common(types.get(name, type(value)), type(value), f"{scope} attribute {name!r}")
        rows.append(row)
    return [{name: types[name](value) for name, value in row.items()} for row in rows]


def _attribute_name(scope: str, key: object) -> str:
    name = str(key)
    if name in _RESERVED[scope]:
        raise UniversalityError(f"{scope} attribute {name!r} is a reserved name in graph files; rename it")
    if not name or name != escape(name):
        raise UniversalityError(
            f"{scope} attribute {name!r}: expected a name without control characters or backslashes"
        )
    return name


def _refuse_alike(owner: dict[str, Any], name: str, key: object, what: str) -> None:
    """Record the owner of a written name; raise if another key, such as 5 beside "5", has it already."""
    first = owner.setdefault(name, key)
    if first != key:
        raise UniversalityError(f"{what} {first!r} and {key!r} would both be written {name!r}; rename one of them")


def _weight(value: Scalar | None, where: str) -> Scalar | None:
    if isinstance(value, str):
        raise UniversalityError(
            f"{where} is the text {value!r}: graph readers take an edge's weight for a number; give one, or rename it"
        )
    return int(value) if isinstance(value, bool) else value


def _value(raw: object, where: str) -> Scalar | None:
    if isinstance(raw, np.generic):
        raw = raw.item()
    if raw is None or type(raw).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(raw, bool | int | float):
        return _number(raw, where)
    if isinstance(raw, str | bytes):
        return escape(raw)
    if isinstance(raw, list | tuple) and raw and all(isinstance(item, str | bytes) for item in raw):
        return join_tokens(raw)
    return escape(json.dumps(_jsonable(raw, where), ensure_ascii=False, sort_keys=True))


def _number(raw: bool | int | float, where: str) -> Scalar | None:
    if isinstance(raw, int) and not -(2**63) <= raw < 2**63:
        raise UniversalityError(f"{where} is an integer of {raw.bit_length()} bits: expected 63 or fewer")
    if isinstance(raw, float) and math.isinf(raw):
        raise UniversalityError(f"{where} is {raw}: expected a finite number or NaN for a missing one")
    return None if isinstance(raw, float) and math.isnan(raw) else raw


def _jsonable(raw: Any, where: str) -> Any:
    if isinstance(raw, Mapping):
        owner: dict[str, object] = {}
        for key in raw:
            _refuse_alike(owner, str(key), key, f"{where}: keys")
        return {str(key): _jsonable(value, where) for key, value in raw.items()}
    if isinstance(raw, np.ndarray):
        raw = raw.tolist()
    if isinstance(raw, list | tuple | set | frozenset):
        items = sorted(raw, key=str) if isinstance(raw, set | frozenset) else raw
        return [_jsonable(item, where) for item in items]
    if isinstance(raw, np.generic):
        raw = raw.item()
    if isinstance(raw, float) and not math.isfinite(raw):
        return None
    if raw is None or isinstance(raw, bool | int | float | str):
        return raw
    raise UniversalityError(
        f"{where}: expected a number, text, or a list or dictionary of those, found {type(raw).__name__}"
    )


def _common(first: type, second: type, where: str) -> type:
    if first is second:
        return first
    if str in (first, second):
        raise UniversalityError(f"{where} is {first.__name__} in one place and {second.__name__} in another")
    return max(first, second, key=_ORDER.index)

"""What the formats' schemas demand of our files, as rules over a parsed tree.

Of http://graphml.graphdrawing.org/xmlns/1.1/graphml.xsd and https://gexf.net/1.3/gexf.xsd the part that we use: allowed
children and attributes of every element, required ones, identifiers that are unique, references that lead somewhere,
and values of the declared type.
"""

import math
from pathlib import Path
from xml.etree import ElementTree

import networkx as nx

GRAPHML = {  # element: (attributes, of them required, children in order)
    "graphml": (set(), set(), ["key", "graph"]),
    "key": ({"id", "for", "attr.name", "attr.type"}, {"id"}, []),
    "graph": ({"id", "edgedefault"}, {"edgedefault"}, ["data", "node", "edge"]),
    "node": ({"id"}, {"id"}, ["data"]),
    "edge": ({"id", "source", "target", "directed"}, {"source", "target"}, ["data"]),
    "data": ({"key", "id"}, {"key"}, []),
}
GEXF = {
    "gexf": ({"version"}, {"version"}, ["meta", "graph"]),
    "meta": ({"lastmodifieddate"}, set(), ["description"]),
    "description": (set(), set(), []),
    "graph": ({"mode", "defaultedgetype"}, set(), ["attributes", "nodes", "edges"]),
    "attributes": ({"class", "mode"}, {"class"}, ["attribute"]),
    "attribute": ({"id", "title", "type"}, {"id", "title", "type"}, []),
    "nodes": ({"count"}, set(), ["node"]),
    "edges": ({"count"}, set(), ["edge"]),
    "node": ({"id", "label"}, {"id"}, ["attvalues"]),
    "edge": ({"id", "source", "target", "weight", "type"}, {"id", "source", "target"}, ["attvalues"]),
    "attvalues": (set(), set(), ["attvalue"]),
    "attvalue": ({"for", "value"}, {"for", "value"}, []),
}
PAIR_ATTRIBUTES = {  # what the graph of a match promises; weight, the held-out r, and others only where known
    "node": ("model", "feature", "label", "kind", "tokens", "density"),
    "edge": ("chosen",),
}
CHECKS = {"boolean": {"true", "false"}.__contains__, "long": int, "double": float, "string": str}


def faults(path: Path, rules: dict) -> list[str]:  # type: ignore[type-arg]
    """Everything that a file does against the rules."""
    root = ElementTree.parse(path).getroot()
    found: list[str] = []
    namespaces = set()
    for element in root.iter():
        namespace, _, name = element.tag.rpartition("}")
        namespaces.add(namespace)
        if name not in rules:
            found.append(f"element {name}")
            continue
        allowed, required, order = rules[name]
        found += [f"{name}: attribute {extra}" for extra in set(element.attrib) - allowed]
        found += [f"{name}: no {missing}" for missing in required - set(element.attrib)]
        children = [child.tag.rpartition("}")[2] for child in element]
        if any(child not in order for child in children) or children != sorted(children, key=order.index):
            found.append(f"{name}: children {children[:5]}")
    if len(namespaces) != 1:
        found.append(f"namespaces {namespaces}")
    return found + _references(root, "key" if "key" in rules else "attribute")


def lacking(graph: nx.Graph, promised: dict[str, tuple[str, ...]]) -> list[str]:
    """Promised attributes that a living feature or a pair lacks."""
    nodes = [(f"node {node}", "node", values) for node, values in graph.nodes(data=True) if not values["dead"]]
    edges = [(f"edge {a}-{b}", "edge", values) for a, b, values in graph.edges(data=True)]
    return [
        f"{where}: {name}" for where, what, values in nodes + edges for name in promised[what] if name not in values
    ]


def _references(root: ElementTree.Element, declared: str) -> list[str]:
    def every(name: str) -> list[ElementTree.Element]:
        return [element for element in root.iter() if element.tag.rpartition("}")[2] == name]

    nodes = [node.get("id") for node in every("node")]
    found = [] if len(set(nodes)) == len(nodes) else ["two nodes of one id"]
    known = set(nodes)
    found += [f"edge to {e.get(end)}" for e in every("edge") for end in ("source", "target") if e.get(end) not in known]
    found += [f"weight {weight}" for e in every("edge") if (weight := e.get("weight")) and not _is_number(weight)]
    if declared == "key":
        types = {key.get("id"): key.get("attr.type") for key in every("key")}
        values = [(data.get("key"), data.text or "") for data in every("data")]
        return found + _typed(types, values)
    for group in every("attributes"):
        scope, types = group.get("class"), {one.get("id"): one.get("type") for one in group}
        values = [(v.get("for"), v.get("value") or "") for e in every(str(scope)) for v in e.iter() if v.get("for")]
        found += _typed(types, values)
    return found


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _typed(types: dict[str | None, str | None], values: list[tuple[str | None, str]]) -> list[str]:
    found = []
    for key, value in values:
        check = CHECKS.get(str(types.get(key)))
        try:
            good = check is not None and check(value) is not False
        except ValueError:
            good = False
        if not good:
            found.append(f"value {value!r} of {key}, declared {types.get(key)}")
    return found


def same(found: nx.Graph, expected: nx.Graph) -> None:
    """Same nodes, edges and attributes."""
    assert found.is_directed() == expected.is_directed()
    assert dict(found.nodes(data=True)) == dict(expected.nodes(data=True))
    assert set(found.edges) == set(expected.edges)
    for edge in expected.edges:  # GEXF numbers its edges
        assert {k: v for k, v in found.edges[edge].items() if k != "id"} == expected.edges[edge]

"""Layout of one family: one column per width, children beside their parent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from universality.errors import UniversalityError

if TYPE_CHECKING:
    import networkx as nx

Node = tuple[int, int]
Edge = tuple[Node, Node]
ENOUGH = 6
"""Members from which a family makes a good example."""


@dataclass(frozen=True)
class Layout:
    """Positions of the drawn members of a family.

    Parameters
    ----------
    row
        Row of every drawn node; its column is its level.
    n_rows
        Rows that the leaves take.
    tree
        Edges from the heaviest parent of every drawn node.
    others
        The other edges between drawn nodes, where features merge.
    hidden
        Number of children left out, by parent.
    """

    row: Mapping[Node, float]
    n_rows: int
    tree: tuple[Edge, ...]
    others: tuple[Edge, ...]
    hidden: Mapping[Node, int]


def lay_out(graph: "nx.DiGraph", root: Node, most: int = 12) -> Layout:
    """Lay out a root and its descendants, the heaviest edges first.

    Parameters
    ----------
    graph
        Nodes ``(level, feature)``, edges from parent to child with ``weight`` (1 where absent).
    root
        A node of the graph.
    most
        Nodes drawn of each level at most.
    """
    if root not in graph:
        raise UniversalityError(f"root: expected a node (level, feature) of the graph, found {root!r}")
    parent, hidden = _members(graph, root, most)
    children: dict[Node, list[Node]] = {node: [] for node in parent}
    for node, above in parent.items():
        if above is not None:
            children[above].append(node)
    row: dict[Node, float] = {}
    n_rows = _rows(root, children, row, 0)
    tree = tuple((above, node) for node, above in parent.items() if above is not None)
    others = sorted((a, b) for a in row for b in graph.successors(a) if b in row and (a, b) not in tree)
    return Layout(row, n_rows, tree, tuple(others), hidden)


def weight(graph: "nx.DiGraph", edge: Edge) -> float:
    """Return the weight of an edge, 1 where it has none."""
    return float(graph.edges[edge].get("weight", 1.0))


def _members(graph: "nx.DiGraph", root: Node, most: int) -> tuple[dict[Node, Node | None], dict[Node, int]]:
    """Map drawn nodes to their heaviest drawn parent, heaviest edges first; count the children left out."""
    parent: dict[Node, Node | None] = {root: None}
    hidden: dict[Node, int] = {}
    level = [root]
    while level:
        best: dict[Node, Edge] = {}
        for edge in ((above, child) for above in level for child in graph.successors(above)):
            child = edge[1]
            if child not in parent and (child not in best or weight(graph, edge) > weight(graph, best[child])):
                best[child] = edge
        # by weight, then by index: the same graph is always drawn in the same way
        ordered = sorted(best, key=lambda node: (-weight(graph, best[node]), node))
        for node in ordered[most:]:
            hidden[best[node][0]] = hidden.get(best[node][0], 0) + 1
        level = ordered[:most]
        parent |= {node: best[node][0] for node in level}
    return parent, hidden


def _rows(node: Node, children: Mapping[Node, list[Node]], row: dict[Node, float], free: int) -> int:
    """Assign rows from ``free`` on to leaves, and their middle to parents; return the next free row."""
    if not children[node]:
        row[node] = free
        return free + 1
    for child in children[node]:
        free = _rows(child, children, row, free)
    row[node] = (row[children[node][0]] + row[children[node][-1]]) / 2
    return free


def choose_family(graph: "nx.DiGraph", most: int = 12) -> Node | None:
    """Choose the root of a family that makes a good example; None if no root has a child.

    Families that can be drawn whole come before those with more than ``most`` nodes on a level, and those with
    ``ENOUGH`` members or more before smaller ones. Ties are broken by how well members agree on a kind of text (mean
    ``purity``, 0 for members of another ``kind`` than the root), then by size, then by order.
    """
    roots = sorted(node for node in graph if graph.in_degree(node) == 0 and graph.out_degree(node) > 0)
    return max(roots, key=lambda root: _merit(graph, root, most), default=None)


def _merit(graph: "nx.DiGraph", root: Node, most: int) -> tuple[bool, bool, float, int]:
    parent, hidden = _members(graph, root, most)
    kind = graph.nodes[root].get("kind")
    members = [graph.nodes[node] for node in parent]
    agreement = sum(node.get("purity", 0.0) for node in members if node.get("kind") == kind) / len(members)
    return not hidden, len(members) >= ENOUGH, round(agreement, 3), len(members)

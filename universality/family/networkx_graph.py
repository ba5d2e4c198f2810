"""The family graph as a networkx graph: attributes of its nodes and edges.

Nodes are ``(level, feature)``: all features of all levels, including those without edges. Their attributes are

- ``label`` (str) ``width/feature``; ``width`` (int) of its dictionary; ``level`` (int) of its dictionary, 0 for the
  narrowest; ``feature`` (int) index in its dictionary;
- ``count`` (int) and ``density`` (float), number and share of tokens on which it fires; ``max_activation`` (float);
  ``alive`` (bool), fires at least once;
- ``kind`` (str), the kind of text with most of its activation mass, None if dead; ``purity`` (float), the share of the
  mass in that kind;
- ``status`` (str) ``dead``, ``rare``, ``root``, ``child``, ``novel`` or ``absorbed``, see
  ``universality.family.orphans.status``; ``vanished`` (bool), may have edges but has none to the wider level;
- ``n_parents``, ``n_children`` (int), number of edges from the narrower and to the wider level;
- ``missing`` (float), share of what it writes that the narrower SAE lacks; and, for a feature without a parent,
  ``nearest`` (int), ``nearest_cosine``, ``nearest_coverage``, ``presence`` (floats), see
  ``universality.family.orphans.Origins``. None where they do not apply.

Edges go from parent to child. Their attributes are ``kind`` (str, see ``universality.family.edges.edge_kinds``),
``decoder_cosine``, ``masked_cosine``, ``coverage``, ``share``, ``recovered``, ``support`` (None if not computed) and
``weight`` (floats, see ``universality.family.edges.Edges``).

The graph's attributes are ``widths``, ``stores``, the thresholds of the rule, and ``reconstruction`` (str), the input
of rule 4: ``activations`` or ``proxy``.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from universality.arrays import FloatArray, IntArray
from universality.family.dictionaries import Level
from universality.family.edge_rule import EdgeRule
from universality.family.edges import Edges, edge_kinds
from universality.family.orphans import Origins, status, vanished

if TYPE_CHECKING:
    import networkx as nx

EDGE_ATTRIBUTES = ("decoder_cosine", "masked_cosine", "coverage", "share", "recovered", "support", "weight")


def node_columns(
    level: int, levels: tuple[Level, ...], origins: Sequence[Origins], edges: Edges, rule: EdgeRule
) -> dict[str, list[Any]]:
    """Collect the attributes of all features of one level, as Python values: name → ``[width]``."""
    this, origin = levels[level], origins[level]
    parents = np.bincount(edges.child[edges.level == level - 1], minlength=this.width)
    children = np.bincount(edges.parent[edges.level == level], minlength=this.width)
    origin_numbers = {name: _optional(column) for name, column in origin.numbers().items()}
    return {
        "label": [f"{this.width}/{feature}" for feature in range(this.width)],
        "width": [this.width] * this.width,
        "level": [level] * this.width,
        "feature": list(range(this.width)),
        "count": this.count.tolist(),
        "density": this.density.tolist(),
        "max_activation": this.max_activation.tolist(),
        "alive": this.alive.tolist(),
        "kind": list(this.kind),
        "purity": this.purity.tolist(),
        "status": status(level, this, origin, parents, rule).tolist(),
        "vanished": vanished(level, levels, edges, rule).tolist(),
        "n_parents": parents.tolist(),
        "n_children": children.tolist(),
        "nearest": [None if feature < 0 else feature for feature in origin.nearest.tolist()],
        **origin_numbers,
    }


def _optional(column: FloatArray | IntArray) -> list[float | None]:
    """Convert to Python numbers, with None for NaN: JSON and graph formats have no NaN."""
    return [None if math.isnan(value) else value for value in column.tolist()]


def build_graph(
    levels: tuple[Level, ...], origins: Sequence[Origins], edges: Edges, rule: EdgeRule, reconstruction: str
) -> "nx.DiGraph":
    """Build the networkx graph of all features and the given edges."""
    import networkx as nx

    graph = nx.DiGraph(
        widths=[level.width for level in levels],
        stores=[level.name for level in levels],
        **asdict(rule),
        reconstruction=reconstruction,
    )
    for level in range(len(levels)):
        columns = node_columns(level, levels, origins, edges, rule)
        for feature, values in enumerate(zip(*columns.values(), strict=True)):
            graph.add_node((level, feature), **dict(zip(columns, values, strict=True)))
    graph.add_edges_from(_edge_items(edges))
    return graph


def _edge_items(edges: Edges) -> Iterator[tuple[tuple[int, int], tuple[int, int], dict[str, Any]]]:
    columns = edges.columns()
    ends = (columns[name].tolist() for name in ("level", "parent", "child"))
    carried = [edge_kinds(edges).tolist(), *(_optional(columns[name]) for name in EDGE_ATTRIBUTES)]
    for level, parent, child, *values in zip(*ends, *carried, strict=True):
        yield (level, parent), (level + 1, child), dict(zip(("kind", *EDGE_ATTRIBUTES), values, strict=True))


def roots(levels: Sequence[Level], tree: Edges) -> list[tuple[IntArray, IntArray]]:
    """Find the root above every feature of a forest: per level, the root's level and feature.

    A feature without a parent is its own root. One pass from narrow to wide suffices, as a parent's root is known
    before its children are visited.
    """
    above: list[tuple[IntArray, IntArray]] = []
    for i, level in enumerate(levels):
        root = (np.full(level.width, i), np.arange(level.width))
        here = tree.level == i - 1
        for of_child, of_parent in zip(root, above[-1] if above else (), strict=False):
            of_child[tree.child[here]] = of_parent[tree.parent[here]]
        above.append(root)
    return above


def family_labels(levels: Sequence[Level], tree: Edges) -> dict[tuple[int, int], str]:
    """Label every node of a forest by the root above it."""
    return {
        (i, feature): f"{levels[level].width}/{root}"
        for i, above in enumerate(roots(levels, tree))
        for feature, (level, root) in enumerate(zip(*(part.tolist() for part in above), strict=True))
    }

"""The family graph as networkx sees it: what its nodes and edges carry, written once.

Nodes are ``(level, feature)``: all features of all levels, also those without edges. They carry

- ``label`` (str) ``width/feature``, ``width`` (int) features of its dictionary, ``level`` (int) place of its
  dictionary, 0 the narrowest, ``feature`` (int) index in its dictionary;
- ``count`` (int) and ``density`` (float), number and share of tokens on which it fires; ``max_activation``
  (float); ``alive`` (bool), fires at least once;
- ``kind`` (str) the kind of text that holds most of its activation mass, None if dead; ``purity`` (float) the
  share of the mass in that kind;
- ``status`` (str) ``dead``; ``rare``, alive but firing too seldom to take part in edges; ``root``, of the
  narrowest level; ``novel``, of a wider level and without a parent; ``child``, with one;
- ``n_parents``, ``n_children`` (int) edges from the level below and to the level above.

Edges go from parent to child and carry ``decoder_cosine``, ``masked_cosine``, ``coverage``, ``share`` and
``weight`` (floats, see ``universality.families.edges.Edges``).
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from universality.families.edges import Edges
from universality.families.levels import Level
from universality.families.rule import EdgeRule

if TYPE_CHECKING:
    import networkx as nx

STATUSES = ("dead", "rare", "root", "novel", "child")
EDGE_ATTRIBUTES = ("decoder_cosine", "masked_cosine", "coverage", "share", "weight")


def node_columns(level: int, levels: Sequence[Level], edges: Edges, rule: EdgeRule) -> dict[str, list[Any]]:
    """Attributes of all features of one level, as Python values: name → ``[width]``."""
    this = levels[level]
    parents = np.bincount(edges.child[edges.level == level - 1], minlength=this.width)
    children = np.bincount(edges.parent[edges.level == level], minlength=this.width)
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
        "status": status(level, this, parents, rule).tolist(),
        "n_parents": parents.tolist(),
        "n_children": children.tolist(),
    }


def status(level: int, this: Level, parents: npt.NDArray[np.int64], rule: EdgeRule) -> npt.NDArray[np.str_]:
    """One of ``STATUSES`` for every feature: ``[width]``."""
    among_eligible = np.where(parents > 0, "child", "root" if level == 0 else "novel")
    among_alive = np.where(this.eligible(rule.min_firings), among_eligible, "rare")
    return np.where(this.alive, among_alive, "dead")


def build_graph(levels: Sequence[Level], edges: Edges, rule: EdgeRule) -> "nx.DiGraph":
    """The networkx graph of all features and the given edges."""
    import networkx as nx

    graph = nx.DiGraph(
        widths=[level.width for level in levels],
        stores=[level.name for level in levels],
        min_decoder_cosine=rule.min_decoder_cosine,
        min_masked_cosine=rule.min_masked_cosine,
        min_firings=rule.min_firings,
    )
    for level in range(len(levels)):
        columns = node_columns(level, levels, edges, rule)
        for feature, values in enumerate(zip(*columns.values(), strict=True)):
            graph.add_node((level, feature), **dict(zip(columns, values, strict=True)))
    graph.add_edges_from(_edge_items(edges))
    return graph


def _edge_items(edges: Edges) -> Iterator[tuple[tuple[int, int], tuple[int, int], dict[str, float]]]:
    columns = {name: column.tolist() for name, column in edges.columns().items()}
    for i, (level, parent, child) in enumerate(zip(columns["level"], columns["parent"], columns["child"], strict=True)):
        yield (level, parent), (level + 1, child), {name: columns[name][i] for name in EDGE_ATTRIBUTES}


def family_labels(levels: Sequence[Level], tree: Edges) -> dict[tuple[int, int], str]:
    """For every node of a forest the label of the root above it, its own where it has no parent."""
    parent_of = [np.full(level.width, -1) for level in levels]
    for level, parent, child in zip(tree.level, tree.parent, tree.child, strict=True):
        parent_of[level + 1][child] = parent
    labels: dict[tuple[int, int], str] = {}
    for level, parents in enumerate(parent_of):
        for feature, parent in enumerate(parents):
            own = f"{levels[level].width}/{feature}"
            labels[level, feature] = labels[level - 1, int(parent)] if parent >= 0 else own
    return labels

"""The family graph of one model's dictionaries: what becomes of a feature as the dictionary grows.

A *family graph* has the features of dictionaries of rising width as nodes, and parent → child edges between adjacent
widths. A *family* is one tree of its maximum spanning forest.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from universality.family.chance_edges import ChanceCounts
from universality.family.consistent_paths import PathConsistency
from universality.family.dictionaries import Level
from universality.family.edge_rule import EdgeRule
from universality.family.edges import Edges, best_parents, edge_kinds
from universality.family.family_file import load_families, save_families
from universality.family.family_members import family_table
from universality.family.family_picture import family_picture
from universality.family.networkx_graph import build_graph, family_labels, node_columns
from universality.family.orphans import Origins
from universality.family.width_summary import summarize
from universality.notebook_card import card

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd


OPTIONAL = ("missing", "nearest_cosine", "nearest_coverage", "presence")
"""Columns that may be missing for a feature."""


@dataclass(frozen=True, eq=False)
class Families:
    """The family graph of one model's dictionaries.

    Parameters
    ----------
    levels
        The dictionaries, narrowest first.
    edges
        Parent → child edges between adjacent levels.
    origins
        For each level, what is known of its features towards the narrower level.
    rule
        Thresholds of an edge.
    reconstruction
        Input of rule 4: "activations", or the wider SAE's reconstruction as a "proxy".
    chance
        Pairs that the rules let through, and how many of them by chance.
    paths
        Agreement of two steps with one, for every level but the last two.
    provenance
        Stores from which the graph was built, as JSON values.
    """

    levels: tuple[Level, ...]
    edges: Edges
    origins: tuple[Origins, ...]
    rule: EdgeRule
    reconstruction: str
    chance: ChanceCounts
    paths: tuple[PathConsistency, ...]
    provenance: dict[str, Any]

    @cached_property
    def graph(self) -> "nx.DiGraph":
        """All features and edges; attributes as in ``universality.family.networkx_graph``."""
        return build_graph(self.levels, self.origins, self.edges, self.rule, self.reconstruction)

    def tree(self) -> "nx.DiGraph":
        """Build the maximum spanning forest: every child keeps its heaviest edge, of equal ones the lowest parent's.

        Returns
        -------
        networkx.DiGraph
            All nodes of ``graph`` with their attributes (``n_parents`` and ``n_children`` are those of the graph) and
            ``family``, the label of the root above each. The attributes ``kept_edges``, ``dropped_edges`` and
            ``dropped_weight`` (the dropped share of all edges' weight) report what the forest hides, as features also
            merge. An edge's ``kind`` is the graph's.
        """
        best = best_parents(self.edges)
        in_tree = self.edges.take(best)
        forest = self.graph.copy()  # nodes and edges with the graph's attributes; then the dropped edges go
        forest.remove_edges_from(list(forest.edges))
        forest.add_edges_from((edge[0], edge[1], self.graph.edges[edge]) for edge in _node_pairs(in_tree))
        for node, family in family_labels(self.levels, in_tree).items():
            forest.nodes[node]["family"] = family
        dropped = np.delete(self.edges.weight, best)
        forest.graph["kept_edges"] = len(in_tree)
        forest.graph["dropped_edges"] = len(dropped)
        forest.graph["dropped_weight"] = float(dropped.sum() / self.edges.weight.sum()) if dropped.any() else 0.0
        return forest

    def to_frame(self) -> "pd.DataFrame":
        """Tabulate the edges, one row each.

        Columns ``parent_width parent child_width child kind decoder_cosine masked_cosine coverage share recovered
        support weight in_tree``; see ``universality.family.edges``.
        """
        import pandas as pd

        widths = np.asarray([level.width for level in self.levels])
        columns = self.edges.columns()
        level = columns.pop("level").astype(np.int64)
        in_tree = np.zeros(len(self.edges), dtype=bool)
        in_tree[best_parents(self.edges)] = True
        ends = {
            "parent_width": widths[level],
            "parent": columns.pop("parent"),
            "child_width": widths[level + 1],
            "child": columns.pop("child"),
            "kind": edge_kinds(self.edges),
        }
        return pd.DataFrame(ends | columns | {"in_tree": in_tree})

    def nodes_frame(self) -> "pd.DataFrame":
        """Tabulate the features of all levels; the columns are the node attributes of ``graph``."""
        import pandas as pd

        parts = [
            pd.DataFrame(node_columns(level, self.levels, self.origins, self.edges, self.rule))
            for level in range(len(self.levels))
        ]
        columns = {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}
        return pd.DataFrame(columns).astype(dict.fromkeys(OPTIONAL, float) | {"nearest": "Int64"})

    def families_frame(self) -> "pd.DataFrame":
        """Tabulate the families of the tree; the columns are those of `universality.family.family_members`."""
        return family_table(self.levels, self.edges.take(best_parents(self.edges)))

    def summary(self) -> dict[str, Any]:
        """Summarise by width: splits, merges, novel features; see ``universality.family.width_summary``."""
        return summarize(self)

    def __repr__(self) -> str:
        widths = ", ".join(str(level.width) for level in self.levels)
        return f"Families(widths {widths}; {len(self.edges)} edges)"

    def _repr_html_(self) -> str:
        numbers = self.summary()
        shown = ("eligible", "novel", "merged", "split", "childless")
        widths = {
            f"{level['width']} wide": {name: level[name] for name in shown if level[name] is not None}
            for level in numbers.pop("levels")
        }
        return card("Families", numbers | widths, family_picture(self.levels, self.edges))

    def save(self, path: str | Path) -> Path:
        """Write as JSON that ``networkx.node_link_graph`` reads too, atomically."""
        return save_families(path, self.levels, self.chance, self.paths, self.provenance, self.graph)

    @classmethod
    def load(cls, path: str | Path) -> "Families":
        """Read a file that ``save`` wrote.

        Raises
        ------
        FormatError
            If the file is corrupt, of another format or version, or contradicts itself.
        """
        return cls(**load_families(path))


def _node_pairs(edges: Edges) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    columns = zip(edges.level.tolist(), edges.parent.tolist(), edges.child.tolist(), strict=True)
    return [((level, parent), (level + 1, child)) for level, parent, child in columns]

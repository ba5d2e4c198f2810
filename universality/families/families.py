"""Families: what becomes of a feature as the dictionary grows.

Words: a *family graph* has the features of dictionaries of rising width as nodes and parent → child edges
between adjacent widths; a *family* is one tree of its maximum spanning forest.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from universality.card import card
from universality.families.chance import Chance, count_by_chance, plan_chance
from universality.families.edges import Edges, best_parents
from universality.families.graph import build_graph, family_labels, node_columns
from universality.families.levels import Level, check_stores, read_level
from universality.families.link import Step, link
from universality.families.rule import EdgeRule
from universality.families.storage import load_families, save_families
from universality.families.summary import summarize
from universality.similarity import DEFAULT_BUDGET
from universality.statistics.null import Null

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

    from universality.features.store import FeatureStore


@dataclass(frozen=True, eq=False)
class Families:
    """The family graph of one model's dictionaries.

    Parameters
    ----------
    levels
        The dictionaries, narrowest first.
    edges
        Parent → child edges between adjacent levels.
    rule
        What made an edge.
    chance
        Edges found where tokens do not belong together.
    provenance
        What the graph was made from (JSON values).
    """

    levels: tuple[Level, ...]
    edges: Edges
    rule: EdgeRule
    chance: Chance
    provenance: dict[str, Any]

    @cached_property
    def graph(self) -> "nx.DiGraph":
        """All features and all edges; attributes as in ``universality.families.graph``."""
        return build_graph(self.levels, self.edges, self.rule)

    def tree(self) -> "nx.DiGraph":
        """The maximum spanning forest: every child keeps its heaviest edge, of equal ones the lowest parent's.

        Returns
        -------
        networkx.DiGraph
            All nodes of ``graph`` with their attributes (``n_parents`` and ``n_children`` of the graph)
            and ``family``, the label of the root above each. The graph's attributes ``kept_edges``,
            ``dropped_edges`` and ``dropped_weight`` (the dropped share of all edges' weight) say what the
            forest hides: features also merge.
        """
        best = best_parents(self.edges)
        kept = self.edges.take(best)
        forest = build_graph(self.levels, self.edges, self.rule)
        forest.remove_edges_from(list(forest.edges))
        forest.add_edges_from((edge[0], edge[1], self.graph.edges[edge]) for edge in _pairs(kept))
        for node, family in family_labels(self.levels, kept).items():
            forest.nodes[node]["family"] = family
        dropped = np.delete(self.edges.weight, best)
        forest.graph["kept_edges"] = len(kept)
        forest.graph["dropped_edges"] = len(dropped)
        forest.graph["dropped_weight"] = float(dropped.sum() / self.edges.weight.sum()) if dropped.any() else 0.0
        return forest

    def to_frame(self) -> "pd.DataFrame":
        """One row an edge.

        Columns ``parent_width parent child_width child decoder_cosine masked_cosine coverage share weight
        in_tree``.
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
        }
        return pd.DataFrame(ends | columns | {"in_tree": in_tree})

    def nodes_frame(self) -> "pd.DataFrame":
        """One row a feature of any level; the columns are the node attributes of ``graph``."""
        import pandas as pd

        parts = [
            pd.DataFrame(node_columns(level, self.levels, self.edges, self.rule)) for level in range(len(self.levels))
        ]
        return pd.concat(parts, ignore_index=True)

    def summary(self) -> dict[str, Any]:
        """The numbers by width: splits, merges, novel features; see ``universality.families.summary``."""
        return summarize(self.levels, self.edges, self.rule, self.chance)

    def _repr_html_(self) -> str:
        numbers = self.summary()
        shown = ("eligible", "novel", "merged", "split", "childless")
        widths = {
            f"{level['width']} wide": {name: level[name] for name in shown if level[name] is not None}
            for level in numbers.pop("levels")
        }
        return card("Families", numbers | widths)

    def save(self, path: str | Path) -> Path:
        """Write as JSON that ``networkx.node_link_graph`` reads too, atomically."""
        header = {
            "n_tokens": [level.n_tokens for level in self.levels],
            "chance": asdict(self.chance),
            "provenance": self.provenance,
        }
        return save_families(path, header, build_graph(self.levels, self.edges, self.rule))

    @classmethod
    def load(cls, path: str | Path) -> "Families":
        """Read what ``save`` wrote.

        Raises
        ------
        FormatError
            When the file is torn, foreign, of another version, or contradicts itself.
        """
        return cls(*load_families(path))


def _pairs(edges: Edges) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    columns = zip(edges.level.tolist(), edges.parent.tolist(), edges.child.tolist(), strict=True)
    return [((level, parent), (level + 1, child)) for level, parent, child in columns]


def families(
    stores: Sequence["FeatureStore"],
    *,
    min_decoder_cosine: float = EdgeRule.min_decoder_cosine,
    min_masked_cosine: float = EdgeRule.min_masked_cosine,
    min_firings: int = EdgeRule.min_firings,
    null: Null = "global",
    n_replicates: int = 3,
    seed: int = 0,
    memory_budget: int = DEFAULT_BUDGET,
) -> Families:
    """Link the features of dictionaries of rising width, parent to child.

    Parameters
    ----------
    stores
        Open stores of SAEs of one model and site over the same tokens, narrowest first, at least two.
    min_decoder_cosine, min_masked_cosine, min_firings
        The rule for an edge: ``universality.families.rule`` states it and gives the reasons for the defaults.
    null, n_replicates, seed
        How chance is counted (``universality.families.chance``); 0 replicates for not at all.
    memory_budget
        Bytes that the pass over pairs of features may take, as in ``Similarity.masked_cosine``.

    Returns
    -------
    Families
        Features without edges stay in it as nodes.

    Raises
    ------
    MismatchError
        When the stores are not of one model, site and token stream (or do not say of which model), not of
        rising width, or one of them is dead.
    UniversalityError
        When a store lacks decoder rows, or activations are negative (MLP neurons): masked cosine needs
        firings.

    Reference
    ---------
    Bricken et al. 2023, Towards Monosemanticity, "Feature splitting".
    """
    rule = EdgeRule(min_decoder_cosine, min_masked_cosine, min_firings)
    check_stores(stores)
    levels = tuple(read_level(store) for store in stores)
    repairings = plan_chance(stores[0], null, n_replicates, seed)
    parts, counts = [], []
    for i, ends in enumerate(pairwise(stores)):  # one step at a time: each holds two stores in memory
        step = Step.of(i, ends, (levels[i], levels[i + 1]), memory_budget)
        parts.append(link(step, rule))
        counts.append(count_by_chance(step, rule, repairings))
    edges = Edges.concatenate(parts).sorted()
    chance = Chance(null, seed, tuple(counts), repairings.share, repairings.note)
    provenance = {
        "tokens_hash": stores[0].tokens_hash,
        "stores": [{"name": store.path.name, "provenance": store.provenance} for store in stores],
    }
    return Families(levels, edges, rule, chance, provenance)

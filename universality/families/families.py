"""Families: what becomes of a feature as the dictionary grows.

Words: a *family graph* has the features of dictionaries of rising width as nodes and parent → child edges
between adjacent widths; a *family* is one tree of its maximum spanning forest.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from universality.card import card
from universality.defaults import FAMILY_REPLICATES, FAMILY_RESAMPLES
from universality.families.chance import Chance, Repairings, count_reseeded, plan_chance
from universality.families.edges import Edges, best_parents, edge_kinds
from universality.families.graph import build_graph, family_labels, node_columns
from universality.families.levels import Level, check_reseeded, check_stores, read_level
from universality.families.members import family_table
from universality.families.origins import Origins
from universality.families.paths import PathConsistency, path_consistency
from universality.families.reconstruction import Activations, Tested, reconstruct
from universality.families.rule import EdgeRule
from universality.families.steps import Step, take_step
from universality.families.storage import load_families, save_families
from universality.families.summary import summarize
from universality.families.support import draw_groups, support
from universality.similarity import DEFAULT_BUDGET
from universality.similarity.rows import BoolArray
from universality.statistics.null import Null

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

    from universality.features.store import FeatureStore


OPTIONAL = ("missing", "nearest_cosine", "nearest_coverage", "presence")
"""Numbers that a feature may lack."""


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
        What is known of each level's features towards the narrower level.
    rule
        What made an edge.
    reconstruction
        What rule 4 was asked of: "activations", or the wider SAE's reconstruction as a "proxy".
    chance
        What the rules let through, and what they let through by chance.
    paths
        Two steps against one, for every level but the last two.
    provenance
        What the graph was made from (JSON values).
    """

    levels: tuple[Level, ...]
    edges: Edges
    origins: tuple[Origins, ...]
    rule: EdgeRule
    reconstruction: str
    chance: Chance
    paths: tuple[PathConsistency, ...]
    provenance: dict[str, Any]

    @cached_property
    def graph(self) -> "nx.DiGraph":
        """All features and all edges; attributes as in ``universality.families.graph``."""
        return build_graph(self.levels, self.origins, self.edges, self.rule, self.reconstruction)

    def tree(self) -> "nx.DiGraph":
        """The maximum spanning forest: every child keeps its heaviest edge, of equal ones the lowest parent's.

        Returns
        -------
        networkx.DiGraph
            All nodes of ``graph`` with their attributes (``n_parents`` and ``n_children`` of the graph)
            and ``family``, the label of the root above each. The graph's attributes ``kept_edges``,
            ``dropped_edges`` and ``dropped_weight`` (the dropped share of all edges' weight) say what the
            forest hides: features also merge. An edge's ``kind`` is the graph's.
        """
        best = best_parents(self.edges)
        kept = self.edges.take(best)
        forest = self.graph.copy()
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

        Columns ``parent_width parent child_width child kind decoder_cosine masked_cosine coverage share recovered
        support weight in_tree``; see ``universality.families.edges``.
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
        """One row a feature of any level; the columns are the node attributes of ``graph``."""
        import pandas as pd

        parts = [
            pd.DataFrame(node_columns(level, self.levels, self.origins, self.edges, self.rule))
            for level in range(len(self.levels))
        ]
        columns = {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}
        return pd.DataFrame(columns).astype(dict.fromkeys(OPTIONAL, float) | {"nearest": "Int64"})

    def families_frame(self) -> "pd.DataFrame":
        """One row a family of the tree; the columns are those of ``universality.families.members.family_table``."""
        return family_table(self.levels, self.edges.take(best_parents(self.edges)))

    def summary(self) -> dict[str, Any]:
        """The numbers by width: splits, merges, novel features; see ``universality.families.summary``."""
        return summarize(self)

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
            "paths": [asdict(path) for path in self.paths],
            "provenance": self.provenance,
        }
        return save_families(path, header, self.graph)

    @classmethod
    def load(cls, path: str | Path) -> "Families":
        """Read what ``save`` wrote.

        Raises
        ------
        FormatError
            When the file is torn, foreign, of another version, or contradicts itself.
        """
        return cls(**load_families(path))


def _pairs(edges: Edges) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    columns = zip(edges.level.tolist(), edges.parent.tolist(), edges.child.tolist(), strict=True)
    return [((level, parent), (level + 1, child)) for level, parent, child in columns]


def families(
    stores: Sequence["FeatureStore"],
    *,
    activations: Activations | None = None,
    reseeded: Sequence["FeatureStore"] = (),
    min_coverage: float = EdgeRule.min_coverage,
    min_masked_cosine: float = EdgeRule.min_masked_cosine,
    min_decoder_cosine: float = EdgeRule.min_decoder_cosine,
    min_recovered: float = EdgeRule.min_recovered,
    min_firings: int = EdgeRule.min_firings,
    null: Null = "global",
    n_replicates: int = FAMILY_REPLICATES,
    bootstrap: int = FAMILY_RESAMPLES,
    seed: int = 0,
    memory_budget: int = DEFAULT_BUDGET,
) -> Families:
    """Link the features of dictionaries of rising width, parent to child.

    Parameters
    ----------
    stores
        Open stores of SAEs of one model and site over the same tokens, narrowest first, at least two; or of the
        nested widths of one Matryoshka SAE.
    activations
        The model's activations at that site on the stores' tokens, in order, as arrays [n, d_in] of any n, for the
        reconstruction test. None: the wider SAE's reconstruction stands in, a proxy.
    reseeded
        Stores of further SAEs of the model, each as wide as one of ``stores`` but of another seed: what the rules
        find where nothing has grown (``universality.families.chance``).
    min_coverage, min_masked_cosine, min_decoder_cosine, min_recovered, min_firings
        The rule for an edge: ``universality.families.rule`` states it and gives the reasons for the defaults.
    null, n_replicates
        How chance is counted on re-paired documents; 0 replicates for not at all.
    bootstrap
        Resamples of the documents for each edge's support; 0 for none, and none where all are of one group.
    seed
        Of all of these.
    memory_budget
        Bytes that the stored activations of a dictionary may take at a time; larger ones are read in portions.

    Returns
    -------
    Families
        Features without edges stay in it as nodes.

    Raises
    ------
    MismatchError
        When the stores are not of one model, site and token stream (or do not say of which model), not of
        rising width, or one of them is dead; or when activations or reseeded stores do not belong to them.
    UniversalityError
        When a store lacks decoder rows, or activations are negative (MLP neurons): then it is not defined what
        fires.

    References
    ----------
    Bricken et al. 2023, Towards Monosemanticity, "Feature splitting"; O'Neill et al. 2024; Leask et al. 2025.
    """
    rule = EdgeRule(min_coverage, min_masked_cosine, min_decoder_cosine, min_recovered, min_firings)
    if bootstrap < 0:
        raise ValueError(f"bootstrap: expected 0 resamples or more, found {bootstrap}")
    check_stores(stores)
    places = check_reseeded(stores, reseeded)
    levels = tuple(read_level(store) for store in stores)
    repairings = plan_chance(stores[0], null, n_replicates, seed)

    def step(a: int, other: "FeatureStore", level: Level, rows: Repairings | None = None) -> Step:
        pairings = rows.rows if rows else ()
        return take_step(a, (stores[a], other), (levels[a], level), rule, memory_budget, pairings)

    last = len(stores) - 1
    grown = [step(i, stores[i + 1], levels[i + 1], repairings) for i in range(last)]
    direct = [step(i, stores[i + 2], levels[i + 2]) for i in range(last - 1)]
    equal = [step(i, store, read_level(store)) for i, store in zip(places, reseeded, strict=True)]
    steps = [*grown, *direct, *equal]
    tested = reconstruct([some.trial for some in steps], activations)
    kept = [some.passing(result, rule) for some, result in zip(steps, tested, strict=True)]
    edges = _with_support(grown, tested, kept, rule, bootstrap, seed, memory_budget)
    ends = [(some.found.parent[keep], some.found.child[keep]) for some, keep in zip(steps, kept, strict=True)]
    chance = Chance(
        null=null,
        seed=seed,
        found=tuple(some.found.met for some in grown),
        repaired=tuple(tuple(found.met for found in some.by_chance) for some in grown),
        share=repairings.share,
        note=repairings.note,
        reseeded=tuple(
            count_reseeded(some.level, some.levels, rule, some.found.met, *pairs)
            for some, pairs in zip(equal, ends[len(grown) + len(direct) :], strict=True)
        ),
    )
    paths = [path_consistency(i, levels, edges, ends[len(grown) + i], seed) for i in range(len(direct))]
    return Families(
        levels=levels,
        edges=edges,
        origins=(Origins.none(levels[0].width), *map(Step.origins, grown, tested)),
        rule=rule,
        reconstruction="proxy" if activations is None else "activations",
        chance=chance,
        paths=tuple(paths),
        provenance={
            "tokens_hash": stores[0].tokens_hash,
            "stores": [{"name": store.path.name, "provenance": store.provenance} for store in stores],
        },
    )


def _with_support(
    steps: Sequence[Step],
    tested: Sequence[Tested],
    kept: Sequence[BoolArray],
    rule: EdgeRule,
    draws: int,
    seed: int,
    memory_budget: int,
) -> Edges:
    """The edges of all steps, each with its bootstrap support."""
    parts = []
    group, weights = draw_groups(steps[0].stores[0], draws, seed)
    for step, result, keep in zip(steps, tested, kept, strict=False):
        parent, child = step.found.parent[keep], step.found.child[keep]
        held = np.full(parent.size, np.nan)
        if draws and weights.shape[1] > 1:  # of one group every draw is the same
            held = support(step.stores, parent, child, rule, group, weights, memory_budget)
        parts.append(step.edges(result, keep, held))
    return Edges.concatenate(parts).sorted()

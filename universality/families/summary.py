"""The numbers of a family graph, by width."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from universality.families.chance import Chance
from universality.families.edges import Edges, best_parents
from universality.families.graph import status
from universality.families.levels import Level
from universality.families.rule import EdgeRule


def summarize(levels: Sequence[Level], edges: Edges, rule: EdgeRule, chance: Chance) -> dict[str, Any]:
    """Counts by level, of Python numbers only (JSON-ready).

    Returns
    -------
    dict
        ``edges``, ``tree_edges``, ``dropped_edges`` (what the tree leaves out), the rule's three thresholds,
        the null, its replicates and what it left out, and ``levels``, a list with one dictionary a width:

        - ``width features_alive dead rare eligible``, and ``isolated``: eligible, but without any edge;
        - towards the narrower level (None at the narrowest): ``edges_in``; ``chance_edges_in``, the null's
          mean; ``novel`` (eligible, no parent) and ``novel_share``; ``merged`` (two parents or more);
          ``parents_per_child`` (mean over those with any);
        - towards the wider level (None at the widest): ``edges_out``; ``childless`` (eligible, no child);
          ``split`` (two children or more); ``children_per_parent`` (mean over those with any: the splitting
          factor); ``tree_children_per_parent`` (the same where each child counts for its best parent only).
    """
    tree = edges.take(best_parents(edges))
    return {
        "edges": len(edges),
        "tree_edges": len(tree),
        "dropped_edges": len(edges) - len(tree),
        "min_decoder_cosine": rule.min_decoder_cosine,
        "min_masked_cosine": rule.min_masked_cosine,
        "min_firings": rule.min_firings,
        "null": chance.null,
        "null_replicates": len(chance.edges[0]),
        "null_note": chance.note,
        "levels": [
            _level(i, levels, edges, tree, rule) | {"chance_edges_in": chance.mean(i - 1) if i else None}
            for i in range(len(levels))
        ],
    }


def _level(i: int, levels: Sequence[Level], edges: Edges, tree: Edges, rule: EdgeRule) -> dict[str, Any]:
    level = levels[i]
    parents = np.bincount(edges.child[edges.level == i - 1], minlength=level.width)
    children = np.bincount(edges.parent[edges.level == i], minlength=level.width)
    in_tree = np.bincount(tree.parent[tree.level == i], minlength=level.width)
    eligible = level.eligible(rule.min_firings)
    states = status(i, level, parents, rule)
    first, last = i == 0, i == len(levels) - 1
    novel = int((states == "novel").sum())
    return {
        "width": level.width,
        "features_alive": int(level.alive.sum()),
        "dead": int((~level.alive).sum()),
        "rare": int((states == "rare").sum()),
        "eligible": int(eligible.sum()),
        "edges_in": None if first else int(parents.sum()),
        "novel": None if first else novel,
        "novel_share": None if first or not eligible.any() else novel / int(eligible.sum()),
        "merged": None if first else int((parents > 1).sum()),
        "parents_per_child": None if first else _mean_of_positive(parents),
        "edges_out": None if last else int(children.sum()),
        "childless": None if last else int((eligible & (children == 0)).sum()),
        "split": None if last else int((children > 1).sum()),
        "children_per_parent": None if last else _mean_of_positive(children),
        "tree_children_per_parent": None if last else _mean_of_positive(in_tree),
        "isolated": int((eligible & (parents == 0) & (children == 0)).sum()),
    }


def _mean_of_positive(counts: npt.NDArray[np.int64]) -> float | None:
    return float(counts[counts > 0].mean()) if (counts > 0).any() else None

"""Summary of a family graph by width."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from universality.arrays import IntArray
from universality.family.edges import KINDS, Edges, best_parents, edge_kinds
from universality.family.family_members import purity_of_families
from universality.family.networkx_graph import roots
from universality.family.orphans import status, vanished

if TYPE_CHECKING:
    from universality.family.chance_edges import ChanceCounts, Reseeded
    from universality.family.tree import Families

RULES = {
    "covered": "coverage",
    "alike": "masked cosine",
    "covered_alike": "coverage and masked cosine",
    "linked": "these and decoder cosine",
}


def summarize(families: "Families") -> dict[str, Any]:
    """Count edges, splits, merges and novel features by level, as Python numbers (JSON-ready).

    Returns
    -------
    dict
        ``edges``, ``tree_edges``, ``dropped_edges`` (not in the tree), the rule's thresholds, ``reconstruction``, the
        null with its replicates and note, and

        ``levels``, a list with one dictionary per width:

        - ``width features_alive dead rare eligible``; ``isolated``, eligible features without any edge; and
          ``same_width``, splits, merges and novel features towards each dictionary of the same width and another seed;
        - towards the narrower level (None at the narrowest): ``edges_in``; ``chance_edges_in``, the null's mean;
          ``rules``, pairs that each rule lets through and the null's mean; ``novel`` and ``absorbed`` (eligible, no
          parent) with ``novel_share`` and ``absorbed_share``; ``novel_missing``, share of the novel features whose
          insertion lowers the narrower SAE's error; ``merged`` (two parents or more) and ``merge_rate``, their share of
          features with a parent; ``parents_per_child``, mean over features with a parent;
        - towards the wider level (None at the widest): ``edges_out``; ``childless`` (vanished: eligible, no child);
          ``split`` (two children or more); ``children_per_parent``, mean over features with a child (the splitting
          factor); ``tree_children_per_parent``, the same in the tree, where each child counts for its best parent only;
          ``persists``, ``splits``, ``merges``: edges of each type; ``support``, their mean bootstrap support;

        ``depth``, the mean number of levels that a feature of the narrowest dictionary reaches down the tree;
        ``families``, mean purity of families of three members or more and the same by chance; ``paths``, the Jaccard
        index of two steps and one.
    """
    edges, levels, rule, chance = families.edges, families.levels, families.rule, families.chance
    tree = edges.take(best_parents(edges))
    return {
        "edges": len(edges),
        "tree_edges": len(tree),
        "dropped_edges": len(edges) - len(tree),
        "min_coverage": rule.min_coverage,
        "min_masked_cosine": rule.min_masked_cosine,
        "min_decoder_cosine": rule.min_decoder_cosine,
        "min_recovered": rule.min_recovered,
        "min_firings": rule.min_firings,
        "reconstruction": families.reconstruction,
        "null": chance.null,
        "null_replicates": len(chance.repaired[0]),
        "null_note": chance.note,
        "levels": [_level(i, families, tree) for i in range(len(levels))],
        "depth": _depth(families, tree),
        "families": purity_of_families(levels, tree, chance.seed),
        "paths": [
            {
                "widths": [levels[i].width for i in (path.level, path.level + 1, path.level + 2)],
                "features": path.features,
                "jaccard": path.jaccard,
                "chance": path.chance,
            }
            for path in families.paths
        ],
    }


def _level(i: int, families: "Families", tree: Edges) -> dict[str, Any]:
    level, edges, rule = families.levels[i], families.edges, families.rule
    parents = np.bincount(edges.child[edges.level == i - 1], minlength=level.width)
    children = np.bincount(edges.parent[edges.level == i], minlength=level.width)
    eligible = level.eligible(rule.min_firings)
    states = status(i, level, families.origins[i], parents, rule)
    return {
        "width": level.width,
        "features_alive": int(level.alive.sum()),
        "dead": int((~level.alive).sum()),
        "rare": int((states == "rare").sum()),
        "eligible": int(eligible.sum()),
        **_towards_narrower(i, families, parents, states),
        **_towards_wider(i, families, tree, children),
        "isolated": int((eligible & (parents == 0) & (children == 0)).sum()),
        "same_width": [_same_width(each) for each in families.chance.reseeded if each.level == i],
    }


def _towards_narrower(i: int, families: "Families", parents: IntArray, states: npt.NDArray[np.str_]) -> dict[str, Any]:
    names = ("edges_in", "chance_edges_in", "rules", "novel", "novel_share", "novel_missing", "absorbed",
             "absorbed_share", "merged", "merge_rate", "parents_per_child")  # fmt: skip
    if i == 0:
        return dict.fromkeys(names)
    eligible = families.levels[i].eligible(families.rule.min_firings)
    novel, absorbed, merged = states == "novel", states == "absorbed", parents > 1
    lacked = families.origins[i].missing[novel] > 0.5  # inserting such a feature lowers the error
    values = (
        int(parents.sum()),
        families.chance.mean(i - 1),
        _rules(families.chance, i - 1),
        int(novel.sum()),
        _share(novel.sum(), eligible.sum()),
        _share(lacked.sum(), lacked.size),
        int(absorbed.sum()),
        _share(absorbed.sum(), eligible.sum()),
        int(merged.sum()),
        _share(merged.sum(), (parents > 0).sum()),
        _mean_of_positive(parents),
    )
    return dict(zip(names, values, strict=True))


def _towards_wider(i: int, families: "Families", tree: Edges, children: IntArray) -> dict[str, Any]:
    names = (
        "edges_out",
        "childless",
        "split",
        "children_per_parent",
        "tree_children_per_parent",
        "persists",
        "splits",
        "merges",
        "support",
    )
    if i == len(families.levels) - 1:
        return dict.fromkeys(names)
    edges, here = families.edges, families.edges.level == i
    kinds = edge_kinds(edges)[here]
    in_tree = np.bincount(tree.parent[tree.level == i], minlength=children.size)
    values = (
        int(children.sum()),
        int(vanished(i, families.levels, edges, families.rule).sum()),
        int((children > 1).sum()),
        _mean_of_positive(children),
        _mean_of_positive(in_tree),
        *(int((kinds == kind).sum()) for kind in (KINDS[0], KINDS[1], KINDS[2])),
        None if not here.any() or np.isnan(edges.support[here]).any() else float(edges.support[here].mean()),
    )
    return dict(zip(names, values, strict=True))


def _rules(chance: "ChanceCounts", step: int) -> dict[str, dict[str, float | None]]:
    """Count the pairs that each rule lets through, beside the null's mean."""
    observed = chance.observed[step]
    return {text: {"pairs": getattr(observed, name), "chance": chance.mean(step, name)} for name, text in RULES.items()}


def _same_width(other: "Reseeded") -> dict[str, Any]:
    """Compute the rates of splits, merges and novel features towards a dictionary of the same width."""
    with_parent = other.eligible_children - other.novel
    with_child = other.eligible_parents - other.childless
    return {
        "store": other.name,
        "edges": other.edges,
        "children_per_parent": _share(other.edges, with_child),
        "split_share": _share(other.split, other.eligible_parents),
        "childless_share": _share(other.childless, other.eligible_parents),
        "merge_rate": _share(other.merged, with_parent),
        "without_parent_share": _share(other.novel, other.eligible_children),
    }


def _depth(families: "Families", tree: Edges) -> float | None:
    """Average the deepest level with a descendant over the eligible features of the narrowest level."""
    deepest = np.zeros(families.levels[0].width)
    for i, (level, feature) in enumerate(roots(families.levels, tree)):
        deepest[feature[level == 0]] = i
    eligible = families.levels[0].eligible(families.rule.min_firings)
    return float(deepest[eligible].mean()) if eligible.any() else None


def _share(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None


def _mean_of_positive(counts: IntArray) -> float | None:
    return float(counts[counts > 0].mean()) if (counts > 0).any() else None

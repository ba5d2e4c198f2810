"""Picture of one family for notebooks: the largest tree that can still be seen."""

from collections.abc import Sequence

import numpy as np

from universality.arrays import IntArray
from universality.family.dictionaries import Level
from universality.family.edges import Edges, best_parents
from universality.notebook_card import layered_tree

LARGEST = 60
"""Most features in a picture: beyond, branches are a pixel apart."""


def family_picture(levels: Sequence[Level], edges: Edges) -> str:
    """Draw the family with the most features, up to ``LARGEST``, as inline SVG; empty if no feature has a child."""
    parents = _parents(levels, edges.take(best_parents(edges)))
    roots = _roots(parents)
    keys, sizes = np.unique(np.concatenate(roots), return_counts=True)
    drawable = np.flatnonzero((sizes > 1) & (sizes <= LARGEST))
    if not len(drawable):
        return ""
    key = keys[drawable[np.argmax(sizes[drawable])]]  # of equally large ones, the first
    members = [np.flatnonzero(root == key) for root in roots]
    first = next(i for i, row in enumerate(members) if len(row))
    last = max(i for i, row in enumerate(members) if len(row))
    rows = _laid_out(members[first : last + 1], parents[first : last + 1])
    root, n = int(members[first][0]), int(sum(map(len, members)))
    names = f"width {levels[first].width}", f"family of feature {root}: {n} features", f"width {levels[last].width}"
    return layered_tree(rows, names, names[1])


def _parents(levels: Sequence[Level], tree: Edges) -> list[IntArray]:
    """Return the parent of each feature of each level, -1 where it has none."""
    parents = [np.full(level.width, -1, np.int64) for level in levels]
    for level in range(len(levels) - 1):
        here = tree.level == level
        parents[level + 1][tree.child[here]] = tree.parent[here]
    return parents


def _roots(parents: Sequence[IntArray]) -> list[IntArray]:
    """Return a number for the root above each feature of each level."""
    roots: list[IntArray] = []
    begin = 0
    for parent in parents:
        own = begin + np.arange(len(parent))
        roots.append(np.where(parent < 0, own, roots[-1][parent]) if roots else own)
        begin += len(parent)
    return roots


def _laid_out(members: Sequence[IntArray], parents: Sequence[IntArray]) -> list[list[tuple[float, int]]]:
    """Place the features of a tree: leaves are evenly spaced in the order of their ancestors, parents between them."""
    place = [{int(feature): i for i, feature in enumerate(row)} for row in members]
    above = [[0] * len(members[0])] + [
        [place[level - 1][int(parents[level][feature])] for feature in members[level]]
        for level in range(1, len(members))
    ]
    children: list[list[list[int]]] = [[[] for _ in row] for row in members]
    for level in range(1, len(members)):
        for i, parent in enumerate(above[level]):
            children[level - 1][parent].append(i)
    heights: list[list[float]] = [[0.0] * len(row) for row in members]
    leaves = 0.0

    def settle(level: int, i: int) -> float:
        nonlocal leaves
        below = [settle(level + 1, child) for child in children[level][i]]
        if not below:
            leaves += 1
        heights[level][i] = sum(below) / len(below) if below else leaves - 1
        return heights[level][i]

    settle(0, 0)  # as deep as there are levels
    span = max(1.0, leaves - 1)
    return [
        [(height / span, parent) for height, parent in zip(*row, strict=True)]
        for row in zip(heights, above, strict=True)
    ]

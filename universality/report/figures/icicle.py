"""A whole ladder of dictionaries at once: every family an icicle, one row a width."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from universality.report.data import Caption
from universality.report.figures.style import (
    CYCLE,
    NAME,
    PAGE,
    PALE,
    drawable_names,
    in_legend,
    new_figure,
    say,
    styled,
)
from universality.report.formatting import count, percent

if TYPE_CHECKING:
    import pandas as pd

MOST_KINDS = len(CYCLE)
LEGEND = 80  # characters of all kinds together that fit beside each other
SHADE = 0.82  # of every other family, so that neighbours can be told apart


@styled
def family_icicle(nodes: "pd.DataFrame", edges: "pd.DataFrame") -> Figure:
    """Rows are widths, columns the ends of all families; a cell shows whom the column descends from at that width.

    Parameters
    ----------
    nodes
        As ``Families.nodes_frame()``: ``level``, ``feature``, ``width``, ``kind`` and ``status``.
    edges
        As ``Families.to_frame()``: ``parent_width``, ``parent``, ``child_width``, ``child`` and ``in_tree``.
    """
    columns = _columns(nodes, edges)
    n_levels = len(columns)
    figure = new_figure(PAGE, 0.9 + 0.34 * max(n_levels, 1))
    axes = figure.subplots()
    if not columns.size:
        say(axes, "no features")
        return figure
    kinds = _common_kinds(nodes)
    axes.imshow(_colours(columns, nodes, kinds), aspect="auto", interpolation="nearest", interpolation_stage="rgba")
    widths = nodes.groupby("level")["width"].first()
    axes.set_yticks(range(n_levels), [f"{count(int(width))} features" for width in widths])
    axes.set_xticks([])
    axes.set_xlabel(f"{count(columns.shape[1])} ends of families")
    axes.tick_params(length=0)
    for level in range(1, n_levels):
        axes.axhline(level - 0.5, color="white", linewidth=1.5)
    labels = [in_legend(kind, NAME) for kind in drawable_names(kinds, NAME)] + ["other kinds"]
    entries = [
        Patch(color=colour, label=label) for label, colour in zip(labels, (*CYCLE[: len(kinds)], PALE), strict=True)
    ]
    columns_of_legend = len(entries) if sum(map(len, labels)) <= LEGEND else 4
    figure.legend(handles=entries, loc="outside upper right", ncols=columns_of_legend, handlelength=1)
    return figure


def describe_icicle(nodes: "pd.DataFrame", edges: "pd.DataFrame") -> Caption:
    """What the picture shows and what to see in it."""
    columns = _columns(nodes, edges)
    text = (
        "Every feature of every width that fires often enough, hung below its heaviest parent: one row a width, one "
        "column an end of a family, so a feature is as broad as what descends from it. Colours are the kind of text "
        "with most of the feature's activation; every other family is darker. White above a feature: it has no parent, "
        "it is novel or absorbed. White below: nothing of the next width descends from it as from its best parent. "
        "Families that stay of one colour on their way down are about one kind of text. Further parents are not drawn."
    )
    levels = [percent(float((row >= 0).mean())) for row in columns]
    return Caption(
        text, f"Icicle of families over {len(columns)} widths; filled: {', then '.join(levels) or 'nothing'}."
    )


def _columns(nodes: "pd.DataFrame", edges: "pd.DataFrame") -> np.ndarray[Any, np.dtype[np.int64]]:
    """[n_levels, n_columns] row in ``nodes`` of each column's member at each level, -1 where it has none."""
    taking_part = nodes[~nodes["status"].isin(["dead", "rare"])]
    place = {(w, f): i for i, w, f in zip(taking_part.index, taking_part["width"], taking_part["feature"], strict=True)}
    children: dict[int, list[int]] = {}
    has_parent = set()
    for row in edges[edges["in_tree"]].itertuples():
        parent, child = place[row.parent_width, row.parent], place[row.child_width, row.child]
        children.setdefault(parent, []).append(child)
        has_parent.add(child)
    level = nodes["level"].to_numpy()
    found: list[list[int]] = []

    def descend(node: int, above: list[int]) -> None:
        path = [*above, node]
        for child in children.get(node, ()):
            descend(child, path)
        if node not in children:
            found.append([-1] * int(level[path[0]]) + path + [-1] * int(level.max() - level[node]))

    for root in _ordered([node for node in place.values() if node not in has_parent], children, nodes):
        descend(root, [])
    n_levels = int(level.max()) + 1 if len(level) else 0
    return np.array(found, dtype=np.int64).reshape(-1, n_levels).T


def _ordered(roots: list[int], children: dict[int, list[int]], nodes: "pd.DataFrame") -> list[int]:
    """Those of the narrowest width first, the commonest kind first, the largest family first."""
    level, kind = nodes["level"].to_numpy(), nodes["kind"].to_numpy()
    rank = {name: i for i, name in enumerate(nodes["kind"].value_counts().index)}

    def size(node: int) -> int:
        return 1 + sum(size(child) for child in children.get(node, ()))

    return sorted(roots, key=lambda node: (level[node], rank.get(kind[node], len(rank)), -size(node), node))


def _common_kinds(nodes: "pd.DataFrame") -> list[str]:
    return [str(kind) for kind in nodes["kind"].value_counts().index[:MOST_KINDS]]


def _colours(
    columns: np.ndarray[Any, np.dtype[np.int64]], nodes: "pd.DataFrame", kinds: list[str]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[n_levels, n_columns, 3]."""
    palette = np.array([to_rgb(colour) for colour in (*CYCLE[: len(kinds)], PALE, "white")])
    code = {kind: i for i, kind in enumerate(kinds)}
    of_node = np.array([code.get(kind, len(kinds)) for kind in nodes["kind"]])
    top = columns[(columns >= 0).argmax(axis=0), np.arange(columns.shape[1])]
    family = np.cumsum(np.r_[0, np.diff(top) != 0])
    shade = np.where(family % 2 == 1, SHADE, 1.0)
    colour = palette[np.where(columns >= 0, of_node[columns], len(kinds) + 1)]
    return np.where((columns >= 0)[..., None], colour * shade[None, :, None], colour)

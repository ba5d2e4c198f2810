"""Picture of all families of a model as an icicle: one row per width, every family a block of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from universality.formatting import count
from universality.plot.style import CYCLE, NAME, PAGE, PALE, drawable_names, in_legend, new_axes, say, styled

if TYPE_CHECKING:
    import pandas as pd

    from universality.family import Families

MOST_KINDS = len(CYCLE)
SHADE = 0.82
"""Brightness of every other family, which separates neighbours."""
LEGEND = 80
"""Characters of all kinds together that fit into one row of the legend."""


@styled
def icicle(families: Families, *, ax: Axes | None = None) -> Axes:
    """Draw all families of a model: widths as rows, and the last members of all families as columns.

    A cell shows the ancestor of its column at the width of its row; its colour is the kind of text with most of the
    feature's activation, and every other family is darker.

    Parameters
    ----------
    families
        Families of the dictionaries.
    ax
        Axes to draw into; by default new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.
    """
    axes = ax or new_axes(PAGE, 1.3 + 0.34 * len(families.levels))
    entries = draw_icicle(axes, families.nodes_frame(), families.to_frame())
    if entries:
        axes.legend(handles=entries, loc="lower left", bbox_to_anchor=(0, 1), ncols=legend_columns(entries),
                    handlelength=1, borderaxespad=0.2)  # fmt: skip
    return axes


def draw_icicle(axes: Axes, nodes: pd.DataFrame, edges: pd.DataFrame) -> list[Patch]:
    """Draw an icicle into axes, and return the entries of its legend; none where there are no features.

    Parameters
    ----------
    nodes
        As ``Families.nodes_frame()``: ``level``, ``feature``, ``width``, ``kind`` and ``status``.
    edges
        As ``Families.to_frame()``: ``parent_width``, ``parent``, ``child_width``, ``child`` and ``in_tree``.
    """
    columns = columns_of(nodes, edges)
    if not columns.size:
        say(axes, "no features")
        return []
    n_levels, kinds = len(columns), _common_kinds(nodes)
    # nearest: cells stay sharp; rgba: colours are not mixed where several columns share a pixel
    axes.imshow(_colours(columns, nodes, kinds), aspect="auto", interpolation="nearest", interpolation_stage="rgba")
    widths = nodes.groupby("level")["width"].first()
    axes.set_yticks(range(n_levels), [f"{count(int(width))} features" for width in widths])
    axes.set_xticks([])
    axes.set_xlabel(f"{count(columns.shape[1])} last members of families")
    axes.tick_params(length=0)
    for level in range(1, n_levels):
        axes.axhline(level - 0.5, color="white", linewidth=1.5)
    labels = [in_legend(kind, NAME) for kind in drawable_names(kinds, NAME)] + ["other kinds"]
    colours = (*CYCLE[: len(kinds)], PALE)
    return [Patch(color=colour, label=label) for label, colour in zip(labels, colours, strict=True)]


def legend_columns(entries: list[Patch]) -> int:
    """Return the number of entries in a row of the legend."""
    return len(entries) if sum(len(str(entry.get_label())) for entry in entries) <= LEGEND else 4


def columns_of(nodes: pd.DataFrame, edges: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return [n_levels, n_columns] the row in ``nodes`` of each column's member at each level; -1 for none."""
    taking_part = nodes[~nodes["status"].isin(["dead", "rare"])]
    place = {(w, f): i for i, w, f in zip(taking_part.index, taking_part["width"], taking_part["feature"], strict=True)}
    children: dict[int, list[int]] = {}
    has_parent = set()
    for row in edges[edges["in_tree"]].itertuples():
        parent, child = place[row.parent_width, row.parent], place[row.child_width, row.child]
        children.setdefault(parent, []).append(child)
        has_parent.add(child)
    level = nodes["level"].to_numpy()
    paths: list[list[int]] = []

    def descend(node: int, above: list[int]) -> None:
        path = [*above, node]
        for child in children.get(node, ()):
            descend(child, path)
        if node not in children:
            paths.append([-1] * int(level[path[0]]) + path + [-1] * int(level.max() - level[node]))

    for root in _ordered([node for node in place.values() if node not in has_parent], children, nodes):
        descend(root, [])
    n_levels = int(level.max()) + 1 if len(level) else 0
    return np.array(paths, dtype=np.int64).reshape(-1, n_levels).T


def _ordered(roots: list[int], children: dict[int, list[int]], nodes: pd.DataFrame) -> list[int]:
    """Sort roots by width, then the commonest kind first, then the largest family first."""
    level, kind = nodes["level"].to_numpy(), nodes["kind"].to_numpy()
    rank = {name: i for i, name in enumerate(nodes["kind"].value_counts().index)}

    def size(node: int) -> int:
        return 1 + sum(size(child) for child in children.get(node, ()))

    return sorted(roots, key=lambda node: (level[node], rank.get(kind[node], len(rank)), -size(node), node))


def _common_kinds(nodes: pd.DataFrame) -> list[str]:
    return [str(kind) for kind in nodes["kind"].value_counts().index[:MOST_KINDS]]


def _colours(
    columns: np.ndarray[Any, np.dtype[np.int64]], nodes: pd.DataFrame, kinds: list[str]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return RGB colours [n_levels, n_columns, 3]."""
    palette = np.array([to_rgb(colour) for colour in (*CYCLE[: len(kinds)], PALE, "white")])
    code = {kind: i for i, kind in enumerate(kinds)}
    of_node = np.array([code.get(kind, len(kinds)) for kind in nodes["kind"]])
    top = columns[(columns >= 0).argmax(axis=0), np.arange(columns.shape[1])]
    family = np.cumsum(np.r_[0, np.diff(top) != 0])
    shade = np.where(family % 2 == 1, SHADE, 1.0)
    colour = palette[np.where(columns >= 0, of_node[columns], len(kinds) + 1)]
    return np.where((columns >= 0)[..., None], colour * shade[None, :, None], colour)

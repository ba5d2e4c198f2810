"""Picture of one family: a feature of a narrow dictionary and those of wider ones that descend from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path
from matplotlib.text import Text

from universality.arrays import IntArray
from universality.errors import UniversalityError
from universality.features.examples import Decode
from universality.features.top_tokens import token_strings
from universality.formatting import count, fixed, percent
from universality.plot.labels import decoder_of_run
from universality.plot.style import BLUE, GREY, INK, NAME, PAGE, VERMILION, drawable, new_axes, say, styled
from universality.plot.tree_layout import Layout, Node, lay_out, weight

if TYPE_CHECKING:
    import networkx as nx

    from universality.family import Families
    from universality.features import FeatureStore

ROW, BOX, MARGIN, HEAD, FOOT = 0.44, 0.34, 0.08, 0.3, 0.16  # inches; FOOT where nodes are left out
ISOLATE, END = "\u2068", "\u2069"  # each token in its own direction, all of them from left to right
LEFT_TO_RIGHT = "\u200e"
GAP = 0.5  # inches between columns
TOKENS = 5  # tokens of a feature, of which as many are drawn as fit


@styled
def family(
    families: Families,
    root: Node | None = None,
    *,
    stores: Sequence[FeatureStore] = (),
    decode: Decode | None = None,
    most: int = 12,
    ax: Axes | None = None,
) -> Axes:
    """Draw a feature of one dictionary and its descendants in wider ones, one column per width, narrowest left.

    Solid lines come from each feature's heaviest parent, dashed lines from further parents. Width of a line and the
    number beside it show the edge's weight, how similarly parent and child fire and write.

    Parameters
    ----------
    families
        Families of the dictionaries.
    root
        ``(level, feature)``, level 0 being the narrowest dictionary; by default the feature of the narrowest with the
        most descendants of which ``most`` or fewer are at each level.
    stores
        Stores of the dictionaries, narrowest first, for the tokens of the features that are drawn; no others are read.
    decode
        Takes token ids and gives their strings; by default the tokenizer of the run that the stores belong to.
    most
        Nodes drawn of each level at most; nodes left out are counted.
    ax
        Axes to draw into; by default new ones, in a figure that grows with the family.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    UniversalityError
        If there is no such feature, or not one store for each dictionary.

    Examples
    --------
    A family of a run, with tokens of the features that are drawn::

        study = Study.open("runs/quickstart")
        plot.family(study.families("A"), stores=[study.store("A", width) for width in (512, 1024, 2048)])
    """
    if stores and len(stores) != len(families.levels):
        raise UniversalityError(f"stores: expected one for each of {len(families.levels)} widths, found {len(stores)}")
    root = _legible_root(families, most) if root is None else root
    if root is not None and not (0 <= root[0] < len(families.levels) and 0 <= root[1] < families.levels[root[0]].width):
        widths = ", ".join(str(level.width) for level in families.levels)
        raise UniversalityError(f"root: expected (level, feature) within the widths {widths}, found {root}")
    if root is None:
        axes = ax or new_axes(PAGE, ROW)
        axes.set_axis_off()
        say(axes, "no feature has a child")
        return axes
    graph = descendants(families, root)
    layout = lay_out(graph, root, most)
    if ax is None:
        ax = new_axes(PAGE, family_height(layout))
    draw_family(ax, graph, layout, _tokens(layout, stores, decode))
    return ax


def _tokens(layout: Layout, stores: Sequence[FeatureStore], decode: Decode | None) -> dict[Node, Sequence[str]]:
    tokens: dict[Node, Sequence[str]] = {}
    for level, store in enumerate(stores):
        nodes = [node for node in layout.row if node[0] == level]
        strings = token_strings(store, [feature for _, feature in nodes], TOKENS, decode or decoder_of_run(store))
        tokens |= dict(zip(nodes, strings, strict=True))
    return tokens


def descendants(families: Families, root: Node) -> nx.DiGraph:
    """Build the part of ``Families.graph`` below a feature, without a node for every feature of every dictionary."""
    import networkx as nx

    graph = nx.DiGraph()
    _add_nodes(graph, families, root[0], np.asarray([root[1]]))
    edges, here = families.edges, np.asarray([root[1]])
    for level in range(root[0], len(families.levels) - 1):
        below = np.flatnonzero((edges.level == level) & np.isin(edges.parent, here))
        here = np.unique(edges.child[below])
        _add_nodes(graph, families, level + 1, here)
        ends = zip(edges.parent[below].tolist(), edges.child[below].tolist(), edges.weight[below].tolist(), strict=True)
        graph.add_edges_from(((level, parent), (level + 1, child), {"weight": w}) for parent, child, w in ends)
    return graph


def _add_nodes(graph: nx.DiGraph, families: Families, level: int, features: IntArray) -> None:
    of_level = families.levels[level]
    density = of_level.density
    for feature in features.tolist():
        graph.add_node(
            (level, feature), width=of_level.width, feature=feature, kind=of_level.kind[feature],
            density=float(density[feature]),
        )  # fmt: skip


def _legible_root(families: Families, most: int) -> Node | None:
    """Return the feature of the narrowest dictionary with the largest family that can be drawn whole, else the largest.

    Only as many families as there are features of the narrowest dictionary with children are sized.
    """
    edges = families.edges
    sizes = np.zeros((len(families.levels), families.levels[0].width), np.int64)
    for feature in np.unique(edges.parent[edges.level == 0]).tolist():
        here = np.asarray([feature])
        for level in range(len(families.levels) - 1):
            here = np.unique(edges.child[(edges.level == level) & np.isin(edges.parent, here)])
            sizes[level + 1, feature] = len(here)
    total = sizes.sum(axis=0)
    if not total.any():
        return None
    whole = np.where((sizes <= most).all(axis=0), total, 0)
    return 0, int((whole if whole.any() else total).argmax())


def family_height(layout: Layout) -> float:
    """Return the height of a picture, in inches, in which rows have their full height."""
    return HEAD + ROW * layout.n_rows + MARGIN + (FOOT if layout.hidden else 0)


def draw_family(axes: Axes, graph: nx.DiGraph, layout: Layout, tokens: Mapping[Node, Sequence[str]]) -> None:
    """Draw a family into axes, whose size decides that of boxes; letters keep theirs."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    axes.set_axis_off()
    figure.draw_without_rendering()  # axes have their final place, and text can be measured
    place = axes.get_window_extent()
    width, height = place.width / figure.dpi, place.height / figure.dpi
    axes.set(xlim=(0, width), ylim=(height, 0))
    first = min(level for level, _ in layout.row)
    n_levels = max(level for level, _ in layout.row) - first + 1
    row = (height - HEAD - MARGIN - (FOOT if layout.hidden else 0)) / layout.n_rows
    box_width = (width - 2 * MARGIN - (max(n_levels, 2) - 1) * GAP) / max(n_levels, 2)
    column = box_width + GAP

    def corner(node: Node) -> tuple[float, float]:
        """Return the upper left corner of a node's box."""
        return MARGIN + (node[0] - first) * column, HEAD + layout.row[node] * row + (row - BOX) / 2

    for edge in (*layout.tree, *layout.others):
        _edge(axes, corner(edge[0]), corner(edge[1]), box_width, weight(graph, edge), edge in layout.tree)
    for node in layout.row:
        _node(axes, graph.nodes[node], corner(node), box_width, tokens.get(node, ()), layout.hidden.get(node, 0))
    for level in range(n_levels):
        node = next(node for node in layout.row if node[0] == first + level)
        text = f"{count(graph.nodes[node].get('width'))} features"
        axes.text(MARGIN + level * column, HEAD - 0.08, text, fontsize=8.5, va="bottom")


def _edge(
    axes: Axes, start: tuple[float, float], stop: tuple[float, float], box_width: float, strength: float, in_tree: bool
) -> None:
    """Draw a curve from the right side of one box to the left side of another, with its weight."""
    x0, y0, x1, y1 = start[0] + box_width, start[1] + BOX / 2, stop[0], stop[1] + BOX / 2
    middle = (x0 + x1) / 2
    path = Path([(x0, y0), (middle, y0), (middle, y1), (x1, y1)], [Path.MOVETO, *[Path.CURVE4] * 3])
    colour, dashes = (BLUE, "-") if in_tree else (VERMILION, (0, (3, 2)))
    axes.add_patch(
        PathPatch(
            path, fill=False, edgecolor=colour, linestyle=dashes, linewidth=0.5 + 1.8 * max(0.0, min(1.0, strength)),
            alpha=0.75 if in_tree else 0.6, zorder=1,
        )
    )  # fmt: skip
    if in_tree:
        from_above = y1 > y0  # the number stands on the side that the curve does not come from
        axes.text(
            x1 - 0.04, y1 + (0.035 if from_above else -0.035), fixed(strength), fontsize=5.5, color=GREY, ha="right",
            va="top" if from_above else "bottom", zorder=3,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.8},
        )  # fmt: skip


def _node(
    axes: Axes,
    attributes: Mapping[str, object],
    corner: tuple[float, float],
    box_width: float,
    tokens: Sequence[str],
    hidden: int,
) -> None:
    """Draw a box with the feature's number, its kind and rate, and as many example tokens as fit."""
    x, y = corner
    axes.add_patch(
        FancyBboxPatch(
            corner, box_width, BOX, boxstyle="round,pad=0,rounding_size=0.05", facecolor="#F4F7FA", edgecolor="#9FB3C4",
            linewidth=0.6, zorder=2,
        )
    )  # fmt: skip
    inner = box_width - 0.1
    facts = [f"#{attributes.get('feature', '?')}"]
    if attributes.get("kind"):
        facts.append(drawable(str(attributes["kind"]), most=NAME))
    if isinstance(attributes.get("density"), float):
        facts.append(percent(attributes["density"], 1))  # type: ignore[arg-type]
    _fitted(axes.text(x + 0.05, y + 0.135, "", fontsize=6.5, color=INK, va="baseline", zorder=4), facts, " · ", inner)
    shown = [drawable(token, mark_spaces=True) for token in tokens]
    line = axes.text(x + 0.05, y + 0.27, "", fontsize=6.5, color=BLUE, va="baseline", zorder=4)
    _fitted(line, shown, "  ", inner)
    if hidden:
        axes.text(
            x + box_width,
            y + BOX + 0.02,
            f"+ {count(hidden)} not drawn",
            fontsize=5.5,
            color=GREY,
            ha="right",
            va="top",
        )


def _fitted(text: Text, parts: Sequence[str], separator: str, inches: float) -> None:
    """Set the text to as many parts as fit; cut the first one if it does not fit alone."""
    whole = parts[0] if parts else ""
    shorter = [[whole[:n] + "…"] for n in range(min(len(whole) - 1, 60), 0, -1)]
    for candidate in [*(parts[:n] for n in range(len(parts), 0, -1)), *shorter]:
        text.set_text(LEFT_TO_RIGHT + separator.join(f"{ISOLATE}{part}{END}" for part in candidate))
        if _width(text) <= inches:
            return


def _width(text: Text) -> float:
    """Measure a text, in inches."""
    figure = text.get_figure(root=True)
    assert figure is not None
    return float(text.get_window_extent().width) / figure.dpi

"""Figure of one family as a layered tree: what becomes of a feature as the dictionary grows."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path
from matplotlib.text import Text

from universality.formatting import count, fixed, percent, plural
from universality.plot.style import BLUE, GREY, INK, NAME, PAGE, VERMILION, drawable, styled
from universality.report.data import Caption
from universality.report.figures.tree_layout import Layout, Node, lay_out, weight

if TYPE_CHECKING:
    import networkx as nx

ROW, BOX, MARGIN, HEAD = 0.44, 0.34, 0.08, 0.3  # inches
ISOLATE, END = "\u2068", "\u2069"  # each token in its own direction, all of them from left to right
LEFT_TO_RIGHT = "\u200e"
GAP = 0.5  # inches between columns


@styled
def family_tree(
    graph: "nx.DiGraph", root: Node, tokens: Mapping[Node, Sequence[str]] | None = None, *, most: int = 12
) -> Figure:
    """Draw a root and its descendants, one column per width, narrowest left.

    Solid lines come from each feature's heaviest parent, dashed lines from further parents. Width of a line and the
    number beside it show the similarity of parent and child (``weight``).

    Parameters
    ----------
    graph
        As ``Families.graph``: nodes ``(level, feature)`` with ``width`` and, where known, ``kind`` and ``density``;
        edges with ``weight``.
    root
        Root of the family, e.g. from ``choose_family``.
    tokens
        Strings to show for each node, strongest first.
    most
        Nodes drawn of each level at most; nodes left out are counted.
    """
    layout = lay_out(graph, root, most)
    first = root[0]
    n_levels = max(level for level, _ in layout.row) - first + 1
    height = HEAD + ROW * layout.n_rows + MARGIN + (0.16 if layout.hidden else 0)
    figure = Figure(figsize=(PAGE, height))
    FigureCanvasAgg(figure)  # its renderer measures text
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, PAGE), ylim=(height, 0))
    axes.set_axis_off()
    box_width = (PAGE - 2 * MARGIN - (max(n_levels, 2) - 1) * GAP) / max(n_levels, 2)
    column = box_width + GAP

    def corner(node: Node) -> tuple[float, float]:
        """Return the upper left corner of a node's box."""
        return MARGIN + (node[0] - first) * column, HEAD + layout.row[node] * ROW + (ROW - BOX) / 2

    for edge in (*layout.tree, *layout.others):
        _edge(axes, corner(edge[0]), corner(edge[1]), box_width, weight(graph, edge), edge in layout.tree)
    for node in layout.row:
        _node(
            axes, graph.nodes[node], corner(node), box_width, (tokens or {}).get(node, ()), layout.hidden.get(node, 0)
        )
    for level in range(n_levels):
        node = next(node for node in layout.row if node[0] == first + level)
        text = f"{count(graph.nodes[node].get('width'))} features"
        axes.text(MARGIN + level * column, HEAD - 0.08, text, fontsize=8.5, va="bottom")
    return figure


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


def describe_family(
    graph: "nx.DiGraph", root: Node, tokens: Mapping[Node, Sequence[str]] | None = None, *, most: int = 12
) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    layout = lay_out(graph, root, most)
    sizes = _sizes(layout)
    text = (
        "One family: a feature of the narrowest dictionary and the features of wider ones that descend from it, with "
        "the share of tokens on which each fires and the tokens that hold most of its activation. Solid lines come "
        "from the most similar parent (beside them the edge's weight, the mean of the similarities of activations "
        "and of decoder directions). Dashed lines come from further parents; a family with any is not a tree. This "
        "family was chosen because it is legible and need not be typical."
    )
    left_out = sum(layout.hidden.values())
    if left_out:
        text += f" {plural(left_out, 'further child', 'further children')} are not drawn."
    parts = [f"{plural(n, 'feature')} of {count(_width_of(graph, layout, level))}" for level, n in sizes.items()]
    merges = f"; {plural(len(layout.others), 'further parent')}" if layout.others else ""
    examples = " ".join(drawable(token, mark_spaces=True) for token in (tokens or {}).get(root, ())[:5])
    about = f" The root fires on: {examples}." if examples else ""
    return Caption(text, f"Family tree: {', then '.join(parts)}{merges}.{about}")


def _sizes(layout: Layout) -> dict[int, int]:
    levels = sorted(level for level, _ in layout.row)
    return {level: levels.count(level) for level in dict.fromkeys(levels)}


def _width_of(graph: "nx.DiGraph", layout: Layout, level: int) -> int | None:
    width = graph.nodes[next(node for node in layout.row if node[0] == level)].get("width")
    return None if width is None else int(width)

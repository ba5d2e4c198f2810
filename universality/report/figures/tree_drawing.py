"""Figure of one family as a layered tree: what becomes of a feature as the dictionary grows."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from universality.formatting import count, plural
from universality.plot.family_boxes import draw_family, family_height
from universality.plot.style import PAGE, drawable, styled
from universality.plot.tree_layout import Layout, Node, lay_out
from universality.report.data import Caption

if TYPE_CHECKING:
    import networkx as nx


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
    figure = Figure(figsize=(PAGE, family_height(layout)))
    FigureCanvasAgg(figure)  # its renderer measures text
    draw_family(figure.add_axes((0, 0, 1, 1)), graph, layout, tokens or {})
    return figure


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

"""Figure of all families of a model as an icicle plot: one row per width."""

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from universality.formatting import percent
from universality.plot.icicle_rows import columns_of, draw_icicle, legend_columns
from universality.plot.style import PAGE, new_figure, styled
from universality.report.data import Caption

if TYPE_CHECKING:
    import pandas as pd


@styled
def family_icicle(nodes: "pd.DataFrame", edges: "pd.DataFrame") -> Figure:
    """Draw widths as rows and the last members of all families as columns; see `universality.plot.icicle`."""
    figure = new_figure(PAGE, 0.9 + 0.34 * max(nodes["level"].nunique(), 1))
    entries = draw_icicle(figure.subplots(), nodes, edges)
    if entries:
        figure.legend(handles=entries, loc="outside upper right", ncols=legend_columns(entries), handlelength=1)
    return figure


def describe_icicle(nodes: "pd.DataFrame", edges: "pd.DataFrame") -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    columns = columns_of(nodes, edges)
    text = (
        "Every feature of every width that fires often enough, placed below its heaviest parent. Each row is a width; "
        "a feature is as broad as the number of last descendants that it has. Colours show the kind of text with most "
        "of the feature's activation; every other family is darker. White above a feature: it has no parent, so it is "
        "novel or absorbed. White below: no feature of the next width has it as best parent. A family of one colour in "
        "all rows responds to one kind of text. Further parents are not drawn."
    )
    levels = [percent(float((row >= 0).mean())) for row in columns]
    return Caption(
        text, f"Icicle of families over {len(columns)} widths; filled: {', then '.join(levels) or 'nothing'}."
    )

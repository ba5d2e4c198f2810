"""Figure of how features split, merge and appear as the dictionary grows."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from universality.formatting import count, fixed, percent
from universality.plot.style import CYCLE, IN_PANEL, PAGE, in_legend, new_figure, say, styled
from universality.report.data import Caption, FamilyLevel, FamilyTable

Value = Callable[[FamilyLevel, FamilyLevel], float | None]


@styled
def splitting_factors(tables: Sequence[FamilyTable]) -> Figure:
    """Draw children per parent, merges, and features without a parent over the wider of two widths.

    Parameters
    ----------
    tables
        Families of each model; lines of one model have one colour.
    """
    figure = new_figure(PAGE, 2.3)
    panels = figure.subplots(1, 3)
    _draw(panels[0], tables, lambda low, _: low.children_per_parent, "-", "o", "all edges")
    _draw(panels[0], tables, lambda low, _: low.tree_children_per_parent, "--", "s", "best parent only")
    _draw(panels[1], tables, lambda _, high: high.merge_rate, "-", "o", "")
    _draw(panels[2], tables, lambda _, high: high.novel_share, "-", "o", "novel")
    _draw(panels[2], tables, lambda _, high: high.absorbed_share, "--", "s", "absorbed")
    panels[0].set_title("children per parent")
    panels[1].set_title("children with several parents")
    panels[2].set_title("features without a parent")
    for panel in panels[1:]:
        panel.yaxis.set_major_formatter(PercentFormatter(1))
    for panel in panels:
        panel.set_ylim(bottom=0)
        panel.set_xlabel("wider dictionary")
    if not any(len(table.levels) > 1 for table in tables):
        say(panels[1], "one width only")
    return figure


def _draw(axes: Axes, tables: Sequence[FamilyTable], value: Value, line: str, marker: str, label: str) -> None:
    widths = sorted({level.width for table in tables for level in table.levels[1:]})
    for i, table in enumerate(tables):
        points = [(high.width, value(low, high)) for low, high in pairwise(table.levels)]
        measured = [(width, y) for width, y in points if y is not None]
        name = ", ".join(part for part in (in_legend(table.model, IN_PANEL), label) if part)
        axes.plot(
            [width for width, _ in measured], [y for _, y in measured], line, marker=marker, markersize=3.5,
            color=CYCLE[i % len(CYCLE)], linewidth=1.2, label=name,
        )  # fmt: skip
    if widths:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(widths, [count(width) for width in widths])
        axes.legend().set_in_layout(False)


def describe_splitting(tables: Sequence[FamilyTable]) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    text = (
        "Left: the splitting factor, that is the mean number of children in the wider dictionary of the features that "
        "have any; dashed, with each child counted for its best parent only. The difference between the two is due to "
        "merges; in a tree there would be none. Middle: share of children with several parents. Right: features "
        "without a parent, either novel or absorbed (the one that would qualify is silent where they fire)."
    )
    steps = [
        f"{table.model} into {count(high.width)}: {fixed(low.children_per_parent or 0)} children per parent, "
        f"{percent(high.merge_rate or 0)} merged, {percent(high.novel_share or 0)} novel"
        for table in tables
        for low, high in pairwise(table.levels)
    ]
    return Caption(text, f"Splitting by width. {'; '.join(steps) or 'One width only'}.")

"""How features split, merge and appear as the dictionary grows."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from universality.report.data import Caption, FamilyLevel, FamilyTable
from universality.report.figures.style import CYCLE, IN_PANEL, PAGE, in_legend, new_figure, say, styled
from universality.report.formatting import count, fixed, percent

Value = Callable[[FamilyLevel, FamilyLevel], float | None]


@styled
def splitting_factors(tables: Sequence[FamilyTable]) -> Figure:
    """Three panels over the width that features grow into: children a parent, merges, features without a parent.

    Parameters
    ----------
    tables
        One a model; lines of one model have one colour.
    """
    figure = new_figure(PAGE, 2.3)
    panels = figure.subplots(1, 3)
    _draw(panels[0], tables, lambda low, _: low.children_per_parent, "-", "o", "all edges")
    _draw(panels[0], tables, lambda low, _: low.tree_children_per_parent, "--", "s", "best parent only")
    _draw(panels[1], tables, lambda _, high: high.merge_rate, "-", "o", "")
    _draw(panels[2], tables, lambda _, high: high.novel_share, "-", "o", "novel")
    _draw(panels[2], tables, lambda _, high: high.absorbed_share, "--", "s", "absorbed")
    panels[0].set_title("children a parent")
    panels[1].set_title("children with several parents")
    panels[2].set_title("features without a parent")
    for panel in panels[1:]:
        panel.yaxis.set_major_formatter(PercentFormatter(1))
    for panel in panels:
        panel.set_ylim(bottom=0)
        panel.set_xlabel("width grown into")
    if not any(len(table.levels) > 1 for table in tables):
        say(panels[1], "one width only")
    return figure


def _draw(axes: Axes, tables: Sequence[FamilyTable], value: Value, line: str, marker: str, label: str) -> None:
    widths = sorted({level.width for table in tables for level in table.levels[1:]})
    for i, table in enumerate(tables):
        points = [(high.width, value(low, high)) for low, high in pairwise(table.levels)]
        known = [(width, y) for width, y in points if y is not None]
        said = ", ".join(part for part in (in_legend(table.model, IN_PANEL), label) if part)
        axes.plot(
            [width for width, _ in known], [y for _, y in known], line, marker=marker, markersize=3.5,
            color=CYCLE[i % len(CYCLE)], linewidth=1.2, label=said,
        )  # fmt: skip
    if widths:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(widths, [count(width) for width in widths])
        axes.legend().set_in_layout(False)


def describe_splitting(tables: Sequence[FamilyTable]) -> Caption:
    """What the picture shows and what to see in it."""
    text = (
        "Left: the splitting factor, how many features of the next width a feature has as children, among those with "
        "any; dashed where each child counts for its best parent only. The gap between the two is what merges add: in "
        "a tree there would be none. Middle: of the children, how many have several parents. Right: features without a "
        "parent, novel ones and those whose parent is silent where they fire."
    )
    steps = [
        f"{table.model} into {count(high.width)}: {fixed(low.children_per_parent or 0)} children a parent, "
        f"{percent(high.merge_rate or 0)} merged, {percent(high.novel_share or 0)} novel"
        for table in tables
        for low, high in pairwise(table.levels)
    ]
    return Caption(text, f"Splitting by width. {'; '.join(steps) or 'One width only'}.")

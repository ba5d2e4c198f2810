"""Figure of how features split, merge and appear as the dictionary grows."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from itertools import pairwise

import pandas as pd
from matplotlib.figure import Figure

from universality.formatting import count, fixed, percent
from universality.plot.style import IN_PANEL, PAGE, new_figure, say, styled
from universality.plot.width_rates import RATES, draw_splitting
from universality.report.data import Caption, FamilyLevel, FamilyTable


@styled
def splitting_factors(tables: Sequence[FamilyTable]) -> Figure:
    """Draw children per parent, merges, and features without a parent; see `universality.plot.splitting`.

    Parameters
    ----------
    tables
        Families of each model; lines of one model have one colour.
    """
    figure = new_figure(PAGE, 2.3)
    levels = {table.model: _frame(table) for table in tables}
    panels = figure.subplots(1, len(RATES))
    drawn = [draw_splitting(panel, levels, rate, IN_PANEL) for panel, rate in zip(panels, RATES, strict=True)]
    for panel in panels:
        if panel.get_legend_handles_labels()[1]:
            panel.legend().set_in_layout(False)
    if not any(drawn):
        say(panels[1], "one width only")
    return figure


def _frame(table: FamilyTable) -> pd.DataFrame:
    names = [field.name for field in fields(FamilyLevel)]
    return pd.DataFrame([asdict(level) for level in table.levels], columns=names).astype(float)


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

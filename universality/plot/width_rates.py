"""Splits, merges and features without a parent, by width of the dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator, PercentFormatter

from universality.errors import UniversalityError
from universality.formatting import count
from universality.plot.pair_table import frame_columns
from universality.plot.style import CYCLE, NAME, in_legend, legend_beside, new_axes, say, styled

if TYPE_CHECKING:
    from universality.family import Families

Rate: TypeAlias = Literal["children", "merges", "orphans"]
Grown: TypeAlias = "Families | pd.DataFrame"


class _Line(NamedTuple):
    """One line of a rate: the column of the levels, dashes, marker, and its part of the legend."""

    column: str
    dashes: str
    marker: str
    label: str


RATES: dict[Rate, tuple[str, tuple[_Line, ...]]] = {
    "children": (
        "children per parent",
        (
            _Line("children_per_parent", "-", "o", "all edges"),
            _Line("tree_children_per_parent", "--", "s", "best parent only"),
        ),
    ),
    "merges": ("children with several parents", (_Line("merge_rate", "-", "o", ""),)),
    "orphans": (
        "features without a parent",
        (_Line("novel_share", "-", "o", "novel"), _Line("absorbed_share", "--", "s", "absorbed")),
    ),
}
"""Rate → its name, and its lines."""
_OF_NARROWER = ("children_per_parent", "tree_children_per_parent")
"""Columns that a level has towards the wider one; the others are towards the narrower one."""


@styled
def splitting(families: Grown | Mapping[str, Grown], rate: Rate = "children", *, ax: Axes | None = None) -> Axes:
    """Draw how features split, merge or appear as the dictionary grows, by the wider of two widths.

    Parameters
    ----------
    families
        Families of one model's dictionaries, or name → families, one colour each. A table of the levels,
        ``DataFrame(families.summary()["levels"])``, does as well.
    rate
        "children": mean number of children in the wider dictionary of the features that have any, with all edges and
        with each child counted for its best parent only. "merges": share of children with several parents. "orphans":
        share of features without a parent, which are novel, or absorbed (the feature that would qualify is silent where
        they fire).
    ax
        Axes to draw into; new ones by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    UniversalityError
        If there is no such rate, or these are no families.

    Examples
    --------
    >>> levels = pd.DataFrame({"width": [512, 1024, 2048], "merge_rate": [float("nan"), 0.3, 0.4]})
    >>> axes = splitting({"A": levels}, "merges")
    >>> axes.lines[0].get_xydata().tolist()
    [[1024.0, 0.3], [2048.0, 0.4]]
    """
    if rate not in RATES:
        raise UniversalityError(f"splitting: expected rate 'children', 'merges' or 'orphans', found {rate!r}")
    named = families if isinstance(families, Mapping) else {"": families}
    levels = {str(name): _levels(given, rate) for name, given in named.items()}
    axes = new_axes(5.2, 2.8) if ax is None else ax
    if draw_splitting(axes, levels, rate, NAME):
        if any(axes.get_legend_handles_labels()[1]):
            legend_beside(axes)
    else:
        say(axes, "one width only")
    return axes


def _levels(given: Grown, rate: Rate) -> pd.DataFrame:
    if isinstance(given, pd.DataFrame):
        levels = given
    elif hasattr(given, "summary") and hasattr(given, "levels"):
        levels = pd.DataFrame(given.summary()["levels"])
    else:
        raise UniversalityError(
            f"splitting: expected the result of families(stores) or a table of its levels, found {type(given).__name__}"
        )
    columns = ("width", *(line.column for line in RATES[rate][1]))
    return pd.DataFrame(dict(zip(columns, frame_columns(levels, columns, "splitting"), strict=True)))


def draw_splitting(axes: Axes, levels: Mapping[str, pd.DataFrame], rate: Rate, most: int) -> bool:
    """Draw the lines of a rate, one colour a model; return whether there are two widths.

    Parameters
    ----------
    levels
        Model → table of its widths, narrowest first, with the columns of ``RATES``.
    most
        Greatest width of a model's name in the legend, in letters n.
    """
    title, lines = RATES[rate]
    for line in lines:
        for colour, (model, table) in zip(_colours(len(levels)), levels.items(), strict=True):
            x, y = np.array(list(_points(table, line.column))).reshape(-1, 2).T
            label = ", ".join(part for part in (in_legend(model, most) if model else "", line.label) if part)
            axes.plot(
                x, y, line.dashes, marker=line.marker, markersize=3.5, color=colour, linewidth=1.2,
                label=label or "_",
            )  # fmt: skip
    axes.set_title(title)
    if rate != "children":
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("wider dictionary")
    widths = sorted({int(width) for table in levels.values() for width in table["width"].iloc[1:]})
    if widths:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(widths, [count(width) for width in widths])
    return bool(widths)


def _colours(n: int) -> Sequence[str]:
    return [CYCLE[i % len(CYCLE)] for i in range(n)]


def _points(table: pd.DataFrame, column: str) -> Iterator[tuple[float, Any]]:
    """Yield the wider width of each step and the rate; steps without one are left out."""
    rows = table.to_dict("records")
    for low, high in pairwise(rows):
        value = low[column] if column in _OF_NARROWER else high[column]
        if np.isfinite(value):
            yield high["width"], value

"""Features of concepts that a program can check, such as Hebrew text: do they match across models?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from universality.corpus.splits import MIN_GROUPS
from universality.errors import UniversalityError
from universality.plot.pair_table import frame_columns
from universality.plot.style import (
    BLUE,
    GREEN,
    GREY,
    NAME,
    ORANGE,
    PAGE,
    PALE,
    PURPLE,
    VERMILION,
    drawable_names,
    in_legend,
    new_axes,
    say,
    styled,
)
from universality.statistics.concept_partners import KNOWS

MOST = 40
"""Kinds that are drawn at most."""
KIND = 30
"""Width of a kind's name at most, in letters n."""
_PUBLISHED = (VERMILION, PURPLE, ORANGE, GREEN)
Published = Mapping[str, Mapping[str, float]]


@styled
def concepts(
    table: pd.DataFrame,
    *,
    names: tuple[str, str] = ("A", "B"),
    published: Published | None = None,
    most: int = MOST,
    ax: Axes | None = None,
) -> Axes:
    """Draw the held-out r of each kind's best feature and its partner, most similar first, with intervals.

    Filled dots mark features that detect their kind well (F1 of at least 0.5); hollow dots mark kinds without such a
    feature, for which r says nothing about the kind. A dagger marks kinds of fewer than eight works, whose interval is
    rough.

    Parameters
    ----------
    table
        Result of `universality.statistics.concept_table`, or any table with the columns ``kind``, ``held_out`` and
        ``f1``, and where known ``ci_low``, ``ci_high`` and ``n_groups`` (works). Kinds without a held-out r are left
        out.
    names
        Names of A and B: two models, or SAE seeds of one.
    published
        Name of a publication → kind → r, drawn as diamonds.
    most
        Kinds drawn at most.
    ax
        Axes to draw into; by default new ones, in a figure that grows with the number of kinds.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    UniversalityError
        If it is no table, or lacks a column.

    Examples
    --------
    >>> table = pd.DataFrame({"kind": ["dna", "hebrew"], "held_out": [0.6, 0.9], "f1": [0.3, 0.8]})
    >>> axes = concepts(table, published={"Bricken et al. 2023": {"hebrew": 0.92}})
    >>> [label.get_text() for label in axes.get_yticklabels()]
    ['hebrew', 'dna']
    """
    drawn = shown_concepts(table, most)
    axes = new_axes(PAGE * 0.82, concepts_height(len(drawn))) if ax is None else ax
    draw_concepts(axes, drawn, names, published or {})
    return axes


def shown_concepts(table: pd.DataFrame, most: int = MOST) -> pd.DataFrame:
    """Select the rows with a held-out r, most similar first, at most ``most``; unknown columns are NaN.

    Raises
    ------
    UniversalityError
        If it is no table, or lacks a column.
    """
    if not isinstance(table, pd.DataFrame):
        raise UniversalityError(
            f"concepts: expected a table such as concept_table(a, b, …), found {type(table).__name__}"
        )
    optional = [name for name in ("ci_low", "ci_high", "n_groups") if name in table]
    numbers = ("held_out", "f1", *optional)
    columns: dict[str, Any] = dict(zip(numbers, frame_columns(table, numbers, "concepts"), strict=True))
    if "kind" not in table:
        frame_columns(table, ("kind",), "concepts")
    kinds = pd.Series([str(kind) for kind in table["kind"]], dtype=object)
    frame = pd.DataFrame({"kind": kinds, "ci_low": np.nan, "ci_high": np.nan, "n_groups": np.nan} | columns)
    scored = frame[np.isfinite(frame["held_out"])]
    return scored.sort_values(["held_out", "kind"], ascending=[False, True], kind="stable", ignore_index=True)[:most]


def concepts_height(n: int) -> float:
    """Return the height in inches of a figure of n kinds."""
    return max(1.6, 0.75 + 0.17 * n)


def few_works(drawn: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell for each row whether it has too few works for an interval: bool [n_kinds]."""
    return drawn["n_groups"].to_numpy(np.float64) < MIN_GROUPS  # False where unknown


def draw_concepts(axes: Axes, drawn: pd.DataFrame, names: tuple[str, str], published: Published) -> None:
    """Draw the rows that `shown_concepts` selected."""
    a, b = drawable_names(names, NAME)
    kinds = drawable_names(drawn["kind"].tolist(), KIND)
    wide = len(a + b) + max(map(len, kinds), default=0) > NAME
    gap = "\n" if wide else " "  # a long label in one line is wider than the axes
    axes.set(
        xlabel=f"r of the kind's feature in {a}{gap}and its partner in {b} (held-out tokens)", ylabel="kind of text"
    )
    if drawn.empty:
        say(axes, "no kind was scored")
        return
    places = np.arange(len(drawn))
    axes.hlines(places, 0, 1, color=PALE, linewidth=0.5, zorder=0)
    low, high = (drawn[name].to_numpy(np.float64) for name in ("ci_low", "ci_high"))
    for place in np.flatnonzero(np.isfinite(low) & np.isfinite(high)):
        axes.hlines(place, low[place], high[place], color=BLUE, linewidth=2.2, alpha=0.45)
    _dots(axes, drawn)
    for colour, (name, values) in zip(_PUBLISHED * len(published), published.items(), strict=False):
        theirs = [(place, values[kind]) for place, kind in enumerate(drawn["kind"]) if kind in values]
        if theirs:
            y, x = zip(*theirs, strict=True)
            axes.plot(x, y, "D", color=colour, markersize=4.5, fillstyle="none", linestyle="none",
                      label=in_legend(name, KIND))  # fmt: skip
    axes.set_yticks(places, [kind + (" †" if few else "") for kind, few in zip(kinds, few_works(drawn), strict=True)])
    lowest = min(float(drawn["held_out"].min()), float(np.where(np.isfinite(low), low, 1.0).min()))
    axes.set(xlim=(min(0.0, lowest) - 0.02, 1.02), ylim=(len(drawn) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, columnspacing=1.2, handletextpad=0.2)


def _dots(axes: Axes, drawn: pd.DataFrame) -> None:
    """Draw filled dots where the feature detects its kind well, hollow dots where it does not."""
    r, detects = drawn["held_out"].to_numpy(np.float64), drawn["f1"].to_numpy(np.float64) >= KNOWS
    for well, colour, label in (
        (True, BLUE, f"detects the kind (F1 ≥ {KNOWS})"),
        (False, GREY, f"does not (F1 < {KNOWS})"),
    ):
        places = np.flatnonzero(detects == well)
        if places.size:
            axes.plot(r[places], places, "o", color=colour, markersize=4.5, fillstyle="full" if well else "none",
                      linestyle="none", label=label)  # fmt: skip

"""Figure of concepts that a program can check, such as Hebrew text: do their features match across models?"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from universality.corpus.splits import MIN_GROUPS
from universality.formatting import fixed
from universality.plot.style import (
    BLUE,
    GREY,
    NAME,
    PAGE,
    PALE,
    VERMILION,
    drawable_names,
    new_figure,
    say,
    styled,
)
from universality.report import published_concepts as published
from universality.report.data import Caption, ConceptRow
from universality.statistics.concept_partners import KNOWS

MOST = 40
"""Kinds that are drawn at most."""
KIND = 30
"""Width of a kind's name at most, in letters n."""


def shown(rows: Sequence[ConceptRow]) -> list[ConceptRow]:
    """Select the rows with a held-out r, most similar first, at most ``MOST``."""
    scored = [row for row in rows if math.isfinite(row.held_out)]
    return sorted(scored, key=lambda row: (-row.held_out, row.kind))[:MOST]


@styled
def concept_dots(rows: Sequence[ConceptRow], names: tuple[str, str] = ("A", "B")) -> Figure:
    """Draw the held-out r of each kind's feature and its partner, with intervals, beside published values.

    Parameters
    ----------
    rows
        Rows in any order; those without a held-out r are left out.
    names
        Names of A and B: two models, or SAE seeds of one.
    """
    drawn = shown(rows)
    figure = new_figure(PAGE * 0.82, max(1.6, 0.75 + 0.17 * len(drawn)))
    axes = figure.subplots()
    a, b = drawable_names(names, NAME)
    kinds = drawable_names([row.kind for row in drawn], KIND)
    wide = len(a + b) + max(map(len, kinds), default=0) > NAME
    gap = "\n" if wide else " "  # a long label in one line is wider than the axes
    axes.set(
        xlabel=f"r of the kind's feature in {a}{gap}and its partner in {b} (held-out tokens)", ylabel="kind of text"
    )
    if not drawn:
        say(axes, "no kind was scored")
        return figure
    places = np.arange(len(drawn))
    axes.hlines(places, 0, 1, color=PALE, linewidth=0.5, zorder=0)
    for place, row in zip(places, drawn, strict=True):
        if math.isfinite(row.ci_low) and math.isfinite(row.ci_high):
            axes.hlines(place, row.ci_low, row.ci_high, color=BLUE, linewidth=2.2, alpha=0.45)
    _dots(figure, drawn)
    theirs = [
        (p, published.CONCEPTS[row.kind].activation_r) for p, row in enumerate(drawn) if row.kind in published.CONCEPTS
    ]
    if theirs:
        y, x = zip(*theirs, strict=True)
        axes.plot(x, y, "D", color=VERMILION, markersize=4.5, fillstyle="none", linestyle="none",
                  label="Bricken et al. 2023")  # fmt: skip
    axes.set_yticks(places, [kind + (" †" if _few(row) else "") for kind, row in zip(kinds, drawn, strict=True)])
    lowest = min(min(row.held_out, row.ci_low if math.isfinite(row.ci_low) else 1.0) for row in drawn)
    axes.set(xlim=(min(0.0, lowest) - 0.02, 1.02), ylim=(len(drawn) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, columnspacing=1.2, handletextpad=0.2)
    return figure


def _dots(figure: Figure, drawn: list[ConceptRow]) -> None:
    """Draw filled dots where the feature detects its kind well, hollow dots where it does not."""
    for well, colour, label in (
        (True, BLUE, f"detects the kind (F1 ≥ {KNOWS})"),
        (False, GREY, f"does not (F1 < {KNOWS})"),
    ):
        points = [(place, row.held_out) for place, row in enumerate(drawn) if (row.f1 >= KNOWS) == well]
        if points:
            y, x = zip(*points, strict=True)
            figure.axes[0].plot(x, y, "o", color=colour, markersize=4.5, fillstyle="full" if well else "none",
                                linestyle="none", label=label)  # fmt: skip


def _few(row: ConceptRow) -> bool:
    return row.n_groups is not None and row.n_groups < MIN_GROUPS


def describe_concepts(rows: Sequence[ConceptRow], names: tuple[str, str] = ("A", "B")) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    drawn = shown(rows)
    text = (
        f"For each kind of text, the feature of {names[0]} that detects it best (chosen by labels alone, not by "
        f"similarity) and that feature's partner in {names[1]}: their r on held-out tokens, with a 95% interval over "
        "works where available. Filled dots mark features that detect their kind well. Hollow dots mark kinds without "
        "such a feature, for which r says nothing about the kind. Diamonds are published values, from other models and "
        "text."
    )
    if any(map(_few, drawn)):
        text += f" † Fewer than {MIN_GROUPS} works: the interval is rough."
    if len(drawn) < len(rows):
        text += (
            f" {len(rows) - len(drawn)} of {len(rows)} kinds are not drawn (no held-out r, or beyond the first {MOST})."
        )
    alt = ", ".join(f"{row.kind} {fixed(row.held_out)}" for row in drawn)
    return Caption(text, f"Dot plot of r by kind of text: {alt or 'none'}.")

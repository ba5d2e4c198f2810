"""Figure of concepts that a program can check, such as Hebrew text: do their features match across models?"""

from collections.abc import Sequence
from dataclasses import asdict, fields

import pandas as pd
from matplotlib.figure import Figure

from universality.corpus.splits import MIN_GROUPS
from universality.formatting import fixed
from universality.plot.kind_dots import MOST, concepts_height, draw_concepts, few_works, shown_concepts
from universality.plot.style import PAGE, new_figure, styled
from universality.report import published_concepts as published
from universality.report.data import Caption, ConceptRow

PUBLISHED = {"Bricken et al. 2023": {kind: theirs.activation_r for kind, theirs in published.CONCEPTS.items()}}


@styled
def concept_dots(rows: Sequence[ConceptRow], names: tuple[str, str] = ("A", "B")) -> Figure:
    """Draw the r of each kind's feature and its partner beside published values; see `universality.plot.concepts`."""
    drawn = shown_concepts(_frame(rows))
    figure = new_figure(PAGE * 0.82, concepts_height(len(drawn)))
    draw_concepts(figure.subplots(), drawn, names, PUBLISHED)
    return figure


def _frame(rows: Sequence[ConceptRow]) -> pd.DataFrame:
    names = [field.name for field in fields(ConceptRow)]
    return pd.DataFrame([asdict(row) for row in rows], columns=names)


def describe_concepts(rows: Sequence[ConceptRow], names: tuple[str, str] = ("A", "B")) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    drawn = shown_concepts(_frame(rows))
    text = (
        f"For each kind of text, the feature of {names[0]} that detects it best (chosen by labels alone, not by "
        f"similarity) and that feature's partner in {names[1]}: their r on held-out tokens, with a 95% interval over "
        "works where available. Filled dots mark features that detect their kind well. Hollow dots mark kinds without "
        "such a feature, for which r says nothing about the kind. Diamonds are published values, from other models and "
        "text."
    )
    if few_works(drawn).any():
        text += f" † Fewer than {MIN_GROUPS} works: the interval is rough."
    if len(drawn) < len(rows):
        text += (
            f" {len(rows) - len(drawn)} of {len(rows)} kinds are not drawn (no held-out r, or beyond the first {MOST})."
        )
    alt = ", ".join(f"{kind} {fixed(r)}" for kind, r in zip(drawn["kind"], drawn["held_out"], strict=True))
    return Caption(text, f"Dot plot of r by kind of text: {alt or 'none'}.")

"""Dots of concepts."""

import dataclasses

import numpy as np
from numpy.testing import assert_allclose

from universality.report import ConceptRow, figures


def words(figure) -> str:  # type: ignore[no-untyped-def]
    return "\n".join(item.get_text() for item in figure.findobj(lambda a: hasattr(a, "get_text")))


def rows() -> list[ConceptRow]:
    base = ConceptRow("hebrew", 100, 1, n_groups=39, f1=0.9, held_out=0.8, ci_low=0.7, ci_high=0.85)
    return [
        base,
        dataclasses.replace(base, kind="dna", n_groups=1, held_out=0.9, ci_low=np.nan),
        dataclasses.replace(base, kind="\u202eעברית", f1=0.2, held_out=-0.3, ci_low=-0.4, ci_high=-0.1),
        dataclasses.replace(base, kind="lost", held_out=np.nan),
    ]


def test_concepts_are_ordered_dots_with_intervals_and_published_values() -> None:
    figure = figures.concept_dots(rows())
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["dna †", "hebrew", "U+202Eעברית"]
    found = {line.get_label(): line.get_xdata() for line in axes.lines}
    assert_allclose(found["detects the kind (F1 ≥ 0.5)"], [0.9, 0.8])
    assert_allclose(found["does not (F1 < 0.5)"], [-0.3])
    assert_allclose(found["Bricken et al. 2023"], [0.92, 0.92])
    bars = [seg[:, 0].tolist() for c in axes.collections for seg in c.get_segments()]
    assert [0.7, 0.85] in bars
    assert axes.get_xlim()[0] < -0.4
    figure.draw_without_rendering()
    said = figures.describe_concepts(rows())
    assert "1 of 4 kinds are not drawn" in said.text
    assert "† Fewer than 8 works" in said.text


def test_no_concepts() -> None:
    figure = figures.concept_dots(rows()[3:])
    assert "no kind was scored" in words(figure)
    figure.draw_without_rendering()
    assert "none" in figures.describe_concepts([]).alt

"""Dots of kinds are in order of r, filled where a feature detects the kind."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from universality import plot
from universality.errors import UniversalityError
from universality.plot.kind_dots import shown_concepts
from universality.statistics import Calibration, concept_table
from universality.statistics.synthetic import Planted

TABLE = pd.DataFrame(
    {
        "kind": ["dna", "hebrew", "code", "lost"],
        "held_out": [0.6, 0.9, 0.7, np.nan],
        "f1": [0.3, 0.8, 0.5, 0.9],
        "ci_low": [0.5, np.nan, 0.6, np.nan],
        "ci_high": [0.7, np.nan, 0.8, np.nan],
        "n_groups": [3, 20, np.nan, 20],
    }
)


def test_dots_intervals_daggers_and_published_values() -> None:
    axes = Figure().subplots()
    published = {"Bricken et al. 2023": {"hebrew": 0.92}, "Other 2024": {"code": 0.1, "nothing": 0.5}}
    assert plot.concepts(TABLE, names=("M", "N"), published=published, ax=axes) is axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["hebrew", "code", "dna †"]
    drawn = {line.get_label(): np.asarray(line.get_xydata()) for line in axes.lines}
    assert_allclose(drawn["detects the kind (F1 ≥ 0.5)"], [[0.9, 0], [0.7, 1]])
    assert_allclose(drawn["does not (F1 < 0.5)"], [[0.6, 2]])
    assert_allclose(drawn["Bricken et al. 2023"], [[0.92, 0]])
    assert_allclose(drawn["Other 2024"], [[0.1, 1]])
    bars = [segment for part in axes.collections[1:] for segment in part.get_segments()]
    assert_allclose(bars, [[[0.6, 1], [0.8, 1]], [[0.5, 2], [0.7, 2]]])
    assert axes.get_xlabel().startswith("r of the kind's feature in M")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(drawn)


def test_the_table_of_two_stores_is_drawn(planted: Planted, calibration: Calibration) -> None:
    table = concept_table(planted.a, planted.b, calibration, min_tokens=1)
    axes = plot.concepts(table)
    scored = table[table["held_out"].notna()]
    assert len(scored) >= 1
    assert [label.get_text() for label in axes.get_yticklabels()] == scored["kind"].tolist()
    assert shown_concepts(TABLE, most=1)["kind"].tolist() == ["hebrew"]


def test_no_kind_is_said_and_other_tables_are_refused() -> None:
    assert plot.concepts(TABLE[3:]).texts[0].get_text() == "no kind was scored"
    with pytest.raises(UniversalityError, match="concepts: the table lacks kind; it has the columns held_out, f1"):
        plot.concepts(TABLE[["held_out", "f1"]])
    with pytest.raises(UniversalityError, match=r"concepts: expected a table such as concept_table\(.*found dict"):
        plot.concepts({"kind": []})  # type: ignore[arg-type]

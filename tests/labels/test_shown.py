"""What tables show of labels."""

import numpy as np
import pytest

from universality.labels import FeatureLabel, Labels, Score
from universality.labels.shown import label_columns, main_score, shown_score, shown_text

NAN = float("nan")
LABEL = FeatureLabel(
    4, "days", "answered",
    scores=(
        Score("detection", "explanation", NAN, NAN, NAN, 9),
        Score("fuzzing", "explanation", 0.75, 0.5, 0.875, 60),
        Score("fuzzing", "random explanation", 0.5, 0.25, 0.75, 60),
        Score("fuzzing", "top tokens", 0.625, 0.25, 0.75, 60),
        Score("fuzzing", "equal density", NAN, NAN, NAN, 60),
        Score("simulation", "explanation", 0.25, NAN, NAN, 60),
    ),
)  # fmt: skip


def test_a_score_stands_beside_the_highest_of_the_others() -> None:
    shown = main_score(LABEL)
    assert shown is not None
    assert (shown.name, shown.value, shown.floor, shown.floor_by) == ("fuzzing", 0.75, 0.625, "top tokens")
    assert shown_score(LABEL, "detection") is None
    alone = shown_score(LABEL, "simulation")
    assert alone is not None
    assert (np.isnan(alone.floor), alone.floor_by) == (True, "")


@pytest.mark.parametrize(("n", "ends"), [(200, "x"), (201, "…")])
def test_long_texts_are_cut(n: int, ends: str) -> None:
    text = shown_text(FeatureLabel(0, "x" * n, "answered"))
    assert (len(text), text[-1]) == (200, ends)
    assert shown_text(None) == ""


def test_columns_are_those_of_the_scores_that_were_asked_for() -> None:
    labels = Labels({"settings": {"scores": ["simulation", "fuzzing"]}}, {4: LABEL})
    table = label_columns(labels, [7, 4])
    assert list(table) == [
        "label",
        "label_fuzzing",
        "label_fuzzing_floor",
        "label_simulation",
        "label_simulation_floor",
    ]
    assert table["label"].tolist() == ["", "days"]
    np.testing.assert_array_equal(table["label_fuzzing"], [NAN, 0.75])
    np.testing.assert_array_equal(table["label_simulation_floor"], [NAN, NAN])

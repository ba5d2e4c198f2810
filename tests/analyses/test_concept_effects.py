"""The script that ablates and clamps features of concepts: which features it takes, and what its controls clamp."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

ANALYSES = Path(__file__).parents[2] / "analyses"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ANALYSES))
    import concept_effects

    return concept_effects


def test_each_model_gives_its_best_feature_and_the_partner_of_the_first_models(script) -> None:
    table = pd.DataFrame(
        {"feature": [3, 0, 5], "partner": [1, 2, -1], "own_best": [4, 2, 3]}, index=["hebrew", "dna", "python"]
    )
    measured = SimpleNamespace(kinds=["dna", "hebrew", "python"], f1=np.arange(18).reshape(6, 3) / 18)
    a = script.features_of(table, measured, 0, "A")
    assert [(row["kind"], row["feature"], row["role"]) for row in a] == [
        ("hebrew", 3, "best"),
        ("dna", 0, "best"),
        ("python", 5, "best"),
    ]
    assert [row["f1"] for row in a] == pytest.approx([10 / 18, 0 / 18, 17 / 18])  # of the row's own kind
    b = script.features_of(table, measured, 1, "B")
    assert [(row["kind"], row["feature"], row["role"]) for row in b] == [
        ("hebrew", 1, "partner"),
        ("hebrew", 4, "best"),
        ("dna", 2, "partner and best"),
        ("python", 3, "best"),  # a feature without a partner leaves its kind's own best
    ]


def test_random_features_are_clamped_one_in_each_text(script) -> None:
    codes = np.array([[0, 1, 0], [2, 0, 0], [0, 0, 4], [0, 3, 0]], np.float32)  # two texts of two tokens
    features, values = np.array([1, 2]), np.array([5.0, 7.0])
    moved = codes + script.clamp_one_each(features, values)(sparse.csr_matrix(codes)).toarray()
    np.testing.assert_array_equal(moved[:2], [[0, 5, 0], [2, 5, 0]])
    np.testing.assert_array_equal(moved[2:], [[0, 0, 7], [0, 3, 7]])


def test_a_text_that_repeats_itself_has_few_distinct_tokens(script) -> None:
    assert script.distinct(np.array([[1, 1, 1, 1], [1, 2, 3, 4]])) == 2.5

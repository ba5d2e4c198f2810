"""Tables of the run with a small model: scores beside explanations, and the answers that a scorer gives by rote."""

import json
from pathlib import Path
from types import ModuleType

import pytest

from universality.labels import FeatureLabel, Labels
from universality.labels.scoring import Score


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "analyses"))
    import small_explainers

    return small_explainers


def test_an_explanation_stands_beside_the_scores_of_all_predictors(script: ModuleType) -> None:
    def scored(feature: int, explanation: float, floor: float) -> FeatureLabel:
        values = {"explanation": explanation, "random explanation": floor}
        scores = tuple(Score("detection", by, value, 0, 1, 9) for by, value in values.items())
        return FeatureLabel(feature, f"word {feature}", "answered", scores=scores)

    labels = Labels({}, {8: scored(8, 0.75, 0.5), 3: scored(3, float("nan"), 0.25), 5: FeatureLabel(5, "", "silent")})
    table = script.explanations(labels).set_index("feature")
    assert table["explanation"].tolist() == ["word 3", "", "word 8"]
    assert table["detection by explanation"].fillna(-1).tolist() == [-1, -1, 0.75]
    assert table["detection by random explanation"].fillna(-1).tolist() == [0.25, -1, 0.5]


def test_answers_are_counted_by_their_text(script: ModuleType, tmp_path: Path) -> None:
    texts = ["1: yes\n2: no", " 1: yes\n2: no", "1: no\n2: no", "days of the week"]
    lines = [{"format": "universality answers", "version": 1}, *({"key": "00", "answer": {"text": t}} for t in texts)]
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert script.count_answers(path).values.tolist() == [["1: yes, 2: no", 2, 0.667], ["1: no, 2: no", 1, 0.333]]

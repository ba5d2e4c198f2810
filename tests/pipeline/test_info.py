"""Descriptions of the artifacts of a run, and of files that are none."""

import json
from pathlib import Path

import pytest

from universality.errors import FormatError
from universality.labels import FeatureLabel, LabelWriter, Score
from universality.pipeline.info import describe


def test_numbers_of_a_run_are_described_and_torn_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "quality.json"
    path.write_text(json.dumps({"l0": 8.0, "loss": {"x": "y" * 200}}))
    lines = list(describe(path))
    assert lines[:2] == [f"numbers of a run, {path}", "  l0: 8.0"]
    assert lines[2].startswith('  loss: {"x": "yyy')
    assert lines[2].endswith("…")
    path.write_text('{"l0": 8')
    with pytest.raises(FormatError, match=r"quality\.json: truncated, or not JSON"):
        list(describe(path))


@pytest.mark.parametrize("value", [[1], {"nodes": []}, {"format": "universality.families"}])
def test_other_json_is_refused(tmp_path: Path, value: object) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(value))
    with pytest.raises(FormatError, match=r"x\.json"):
        list(describe(path))


def test_labels_are_described_with_what_they_are_worth(tmp_path: Path) -> None:
    who = {"name": "m\x1b[2J", "settings": {}}
    header = {"store": "ab" * 32, "features": [3, 4], "settings": {}, "explainer": who, "scorer": who}
    scores = (Score("detection", "explanation", 0.75, 0.5, 0.9, 60),)
    LabelWriter(tmp_path / "a.jsonl", header).append(FeatureLabel(3, "days", "answered", scores=scores))
    text = "\n".join(describe(tmp_path / "a.jsonl"))
    assert "\x1b" not in text
    assert "labels: 1 feature (1 answered); 1 label missing" in text
    assert "detection: nothing to compare with" in text


DATA = Path(__file__).parents[1] / "sae" / "formats" / "data"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("sparsify_topk", "sparsify"),
        ("dictionary_learning_topk", "dictionary_learning"),
        ("dictionary_learning_topk/ae.pt", "dictionary_learning"),
        ("openai_topk.pt", "OpenAI"),
        ("gemma_scope/layer_3/width_32/average_l0_9/params.npz", "Gemma Scope"),
        ("llamascopium_topk", "Llamascopium"),
    ],
)
def test_info_tells_what_a_foreign_sae_is(path: str, name: str) -> None:
    lines = list(describe(DATA / path))
    assert lines[0].startswith("SAE ")
    assert "12 → 32" in lines[0]
    assert lines[1].startswith(f"  format: {name}")


def test_a_folder_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    with pytest.raises(FormatError, match="nothing that this package writes; expected a run's folder, or"):
        list(describe(tmp_path))

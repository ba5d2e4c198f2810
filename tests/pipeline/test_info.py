"""Descriptions of the artifacts of a run, and of files that are none."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.report.planted_effects import agreement, carried, exact
from universality.config import load_config
from universality.effects import Fingerprints
from universality.effects.fingerprints import TokenSet
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


def test_tasks_of_stages_that_the_configuration_turns_off_are_named_as_left(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("report", "figures"))
    config = load_config(folder / "config.yaml", overrides=["effects.measure=false"])
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump()), encoding="utf-8")
    effects = [path.stem.replace(".", "/", 1) for path in sorted((folder / ".done").glob("effects.*.json"))]
    assert len(effects) > 3
    shown = list(describe(folder))
    assert shown[-1] == f"left from an earlier configuration, and no part of this run: {', '.join(effects)}"
    assert not any(line.startswith("  effects/") for line in shown)
    (match,) = (line for line in shown if line.startswith("  match/A-B.w128"))
    assert re.search(r" +[\d.]+ s +[\d.]+ s of processor  \d+ files$", match)
    of_all = list(describe(finished))
    assert sum(line.startswith("  effects/") for line in of_all) == len(effects)
    assert "left from" not in of_all[-1]
    (folder / "config.yaml").write_text("unknown: 1", encoding="utf-8")  # of another version: all are listed
    assert sum(line.startswith("  effects/") for line in describe(folder)) == len(effects)


def test_results_on_effects_are_described(tmp_path: Path) -> None:
    carried().save(tmp_path / "A.shared_loss.json")
    lines = list(describe(tmp_path / "A.shared_loss.json"))
    assert lines[0].startswith("loss that shared features of A carry")
    assert lines[1] == "  3,840 tokens, 120 blocks, 40 groups of documents"
    assert sum(line.startswith("  B: Of the loss that A's SAE of 15 features recovers") for line in lines) == 2
    exact().save(tmp_path / "A.exact.npz")
    assert list(describe(tmp_path / "A.exact.npz"))[1:3] == ["  n: 100", "  spearman: 1.0"]
    agreement(np.arange(23), np.arange(23)).save(tmp_path / "agreement.npz")
    lines = list(describe(tmp_path / "agreement.npz"))
    assert lines[0].startswith("agreement of effects")
    assert "  n_compared: 20" in lines
    tokens = TokenSet.of([0, 1, 2], [1, 1, 1])
    Fingerprints(np.eye(3, dtype=np.float32), np.array([4, 0, 4]), tokens, "ablation", False).save(tmp_path / "x.npz")
    lines = list(describe(tmp_path / "x.npz"))
    assert lines[0].startswith("fingerprints")
    assert "  n_without: 1" in lines
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:-40])
    with pytest.raises(FormatError, match=r"no calibration, match, .* or token blocks of this package"):
        list(describe(tmp_path / "x.npz"))

"""What can be refused before any work is; and what `info` says of a run's JSON."""

import json
from pathlib import Path

import pytest

from universality.config import parse_config
from universality.errors import ConfigError, FormatError, UniversalityError
from universality.pipeline import run
from universality.pipeline.info import describe
from universality.pipeline.runner import run_crosscoder


def test_a_report_of_one_model_and_one_seed_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    config = parse_config({"models": {"load": {"A": "starter/seed0"}}, "saes": {"ceiling_seed": None}})
    message = (
        "a report compares two models or more, or SAE seeds of one; the configuration names A alone, with SAE seed 0; "
        r"name another under models.load or models.train, or a second seed as in saes.seeds=\[0, 1\]"
    )
    with pytest.raises(ConfigError, match=message):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_file_is_no_folder_for_a_run(tmp_path: Path) -> None:
    config = parse_config({"models": {"load": {"A": "starter/seed0", "B": "starter/seed1"}}})
    (tmp_path / "run").write_text("mine")
    with pytest.raises(UniversalityError, match=r"run: expected a folder for the run, found a file; name another with"):
        run(config, tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"


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


def test_a_crosscoder_that_cannot_be_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    alone = parse_config({"models": {"load": {"A": "starter/seed0"}}})
    with pytest.raises(ConfigError, match=r"a crosscoder is of two models; name a second one under models\.load"):
        run_crosscoder(alone, tmp_path / "run")
    pair = {"models": {"load": {"A": "starter/seed0", "B": "starter/seed1"}}, "crosscoder": {"width": 16}}
    with pytest.raises(ConfigError, match=r"crosscoder\.k: 32 features cannot fire in a dictionary of 16; lower it"):
        run_crosscoder(parse_config(pair), tmp_path / "run")
    assert not (tmp_path / "run").exists()

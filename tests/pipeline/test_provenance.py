"""provenance.json says what everything was made from and by, and is rewritten where it was truncated."""

import json
from pathlib import Path

import pytest

from universality.pipeline import task
from universality.pipeline.paths import RunFolder
from universality.pipeline.provenance import package_versions, write_provenance
from universality.pipeline.task import Task, run_tasks


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setattr(task, "_release_memory", lambda cycles: None)  # takes up to a second among a suite's objects

    def make() -> list[Path]:
        (tmp_path / "a.txt").write_text("a")
        return [tmp_path / "a.txt"]

    run_tasks([Task("match/A", 1, (), make, version=3)], tmp_path, lambda outcome: None)
    write_provenance(tmp_path)
    return RunFolder(tmp_path)


def test_every_task_has_its_version_and_packages(folder: RunFolder) -> None:
    record = json.loads((folder.root / "provenance.json").read_text())
    made = record["tasks"]["match/A"]
    assert made["version"] == 3
    assert made["made_by"] == package_versions() == record["last_call"]
    assert set(made["outputs"]) == {"a.txt"}
    assert made["made_by"]["universality"]
    assert made["made_by"]["torch"]


@pytest.mark.parametrize("truncated", ["", '{"tasks": {', "[1]", "\0"])
def test_a_truncated_one_is_rewritten(folder: RunFolder, truncated: str) -> None:
    path = folder.root / "provenance.json"
    whole = path.read_bytes()
    path.write_text(truncated)
    write_provenance(folder.root)
    assert path.read_bytes() == whole


def test_it_is_not_written_where_nothing_was_made(folder: RunFolder) -> None:
    path = folder.root / "provenance.json"
    before = path.stat().st_ino
    write_provenance(folder.root)
    assert path.stat().st_ino == before  # writing replaces the file


def test_a_truncated_stamp_of_another_task_is_left_out(folder: RunFolder) -> None:
    (folder.root / ".done" / "match.B.json").write_text('{"task"')
    (folder.root / ".done" / "match.C.json").write_text("{}")
    write_provenance(folder.root)
    assert list(json.loads((folder.root / "provenance.json").read_text())["tasks"]) == ["match/A"]

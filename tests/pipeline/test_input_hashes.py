"""Hashes of files that a run reads from outside its folder."""

import json
import os
import shutil
from pathlib import Path

import pytest

from universality.pipeline import input_hashes as inputs
from universality.pipeline.input_hashes import hash_inputs


def test_a_large_input_is_read_again_when_it_changes_though_size_and_time_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "LARGE", 1)
    file, memory, other = tmp_path / "a.npy", tmp_path / "memory.json", tmp_path / "b.npy"
    file.write_bytes(b"one")
    before = hash_inputs([file], memory)
    assert hash_inputs([file], memory) == before == hash_inputs([file])
    kept = json.loads(memory.read_text())
    (entry,) = kept.values()
    assert entry["sha256"] == before[str(file)]
    times = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert hash_inputs([file], memory) != before
    shutil.copy(file, other)  # of the same content at another time
    assert hash_inputs([other], memory)[str(other)] == hash_inputs([file], memory)[str(file)]
    memory.write_text("{")
    assert hash_inputs([file], memory) == hash_inputs([file])
    (entry,) = json.loads(memory.read_text()).values()
    entry["sha256"] = "remembered"
    memory.write_text(json.dumps({str(file.resolve()): entry}))
    assert hash_inputs([file], memory) == {str(file): "remembered"}  # not read again while nothing changed


def test_inputs_are_hashed_by_content(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_text("1")
    before = hash_inputs([tmp_path / "d", tmp_path / "missing"])
    (tmp_path / "d" / "a").write_text("2")
    assert set(before) == {str(tmp_path / "d" / "a")}
    assert hash_inputs([tmp_path / "d"]) != before


def test_a_linked_folder_counts_among_the_inputs_and_a_hidden_one_does_not(tmp_path: Path) -> None:
    for name in ("text", "disk", "text/.git"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("one")
    (tmp_path / "text" / "linked").symlink_to(tmp_path / "disk")
    before = hash_inputs([tmp_path / "text"])
    (tmp_path / "text" / ".git" / "a.txt").write_text("two")
    assert hash_inputs([tmp_path / "text"]) == before
    (tmp_path / "disk" / "a.txt").write_text("two")
    assert hash_inputs([tmp_path / "text"]) != before

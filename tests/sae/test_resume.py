"""Killed at any moment, a training ends in the same bytes; a full disk costs no checkpoint."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from universality.models.training_checkpoint import load_checkpoint, save_checkpoint

SCRIPT = Path(__file__).with_name("training_process.py")
FILES = ("w64/sae_weights.safetensors", "w64/cfg.json", "relu/sae_weights.safetensors", "relu/cfg.json")


def start(folder: Path, *arguments: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), str(folder), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(folder: Path) -> dict[str, bytes]:
    _, errors = start(folder).communicate()
    assert errors == ""
    return {name: (folder / name).read_bytes() for name in FILES}


def log_lines(folder: Path) -> int:
    log = folder / "train.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def kill_after(folder: Path, lines: int) -> None:
    """Kill as soon as the log has so many lines: between two checkpoints or, with some luck, within one."""
    process = start(folder)
    while process.poll() is None and log_lines(folder) < lines:
        time.sleep(0.0005)
    assert process.poll() is None, "it ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def test_killed_or_out_of_disk_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    uninterrupted = finish(tmp_path / "whole")
    folder = tmp_path / "killed"
    for lines in (2, 14, 31):
        kill_after(folder, lines)
    checkpoints = folder / "checkpoints"
    good = {path.name: path.read_bytes() for path in checkpoints.glob("*.pt")}
    assert len(good) == 2

    _, errors = start(folder, 30_000).communicate()  # no file may grow beyond that
    last = errors.splitlines()[-1]
    assert "the checkpoint of step" in last
    assert "m.w64.pt, stays. Free space on this disk, and call again" in last
    assert {path.name: path.read_bytes() for path in checkpoints.glob("*.pt")} == good
    (checkpoints / ".m.w64.pt.1.partial").write_bytes(b"PK\x03\x04 torn")  # what a kill within a write leaves

    assert finish(folder) == uninterrupted
    assert log_lines(folder) == 60


def test_the_first_checkpoint_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "x.pt"
    with pytest.raises(OSError, match=r"the checkpoint of step 7 cannot be written .* there is none before it"):
        save_checkpoint(path, {"step_count": 7}, "")
    assert load_checkpoint(tmp_path / "none.pt", "") is None

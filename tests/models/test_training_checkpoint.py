"""A checkpoint is whole or refused; the log of a resumed training continues where its checkpoint was taken."""

import json
from pathlib import Path

import pytest
import torch

from universality.errors import FormatError, MismatchError
from universality.models.training_checkpoint import load_checkpoint, save_checkpoint, truncate_log


def test_a_state_is_read_back_for_the_same_settings_alone(tmp_path: Path) -> None:
    path = tmp_path / "run" / "checkpoint.pt"
    assert load_checkpoint(path, "settings") is None
    save_checkpoint(path, {"step_count": 7, "x": torch.arange(3)}, "settings")
    state = load_checkpoint(path, "settings")
    assert state is not None
    assert state["step_count"] == 7
    assert state["x"].tolist() == [0, 1, 2]
    with pytest.raises(MismatchError, match="made from settings, this run from others; delete it to start again"):
        load_checkpoint(path, "others")


def test_a_flipped_bit_and_a_truncated_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step_count": 7, "x": torch.arange(3000)}, "settings")
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (bytes(flipped), whole[:-100]):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"a truncated or corrupt checkpoint .*; delete it to start again"):
            load_checkpoint(path, "settings")


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step_count": 1}, "settings")
    before = path.read_bytes()
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match=r"the checkpoint of step 2 cannot be written .*there is none before it"):
        save_checkpoint(tmp_path / "file" / "checkpoint.pt", {"step_count": 2}, "settings")
    assert path.read_bytes() == before


def test_lines_after_the_checkpoint_are_dropped_and_a_truncated_one_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    assert truncate_log(path, 0) == {}
    lines = [json.dumps({"step": step, "loss": step / 10}) for step in range(5)]
    path.write_text("\n".join(lines) + '\n{"step": 5, "lo')
    assert truncate_log(path, 3) == {3: {"step": 3, "loss": 0.3}, 4: {"step": 4, "loss": 0.4}}
    assert path.read_text().splitlines() == lines[:3]

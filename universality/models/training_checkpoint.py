"""Checkpoint and log of a training that may be interrupted: atomic writing, and checks before resuming."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from universality.errors import FormatError, MismatchError
from universality.files import replacing, replacing_text


def save_checkpoint(path: Path, state: Mapping[str, Any], made_from: str) -> None:
    """Write the state of a training; the previous checkpoint stays until the new one is complete on disk.

    Parameters
    ----------
    state
        Tensors, numbers, text, and lists and dictionaries of these; with the key ``step_count``.
    made_from
        Description of settings and inputs; `load_checkpoint` requires the same one.

    Raises
    ------
    OSError
        If the checkpoint cannot be written, for instance on a full disk.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            torch.save({"made_from": made_from, "state": dict(state)}, partial)
    except (OSError, RuntimeError) as error:  # PyTorch's writer raises RuntimeError on a full disk
        previous = f"the last good one, {path}, stays" if path.exists() else "there is none before it"
        first = str(error).splitlines()[0]
        raise OSError(
            f"{path.parent}: the checkpoint of step {state['step_count']} cannot be written ({first}); {previous}. "
            "Free space on this disk, and call again"
        ) from None


def load_checkpoint(path: Path, made_from: str) -> dict[str, Any] | None:
    """Read the state of a training; None if there is no checkpoint.

    Raises
    ------
    FormatError
        If the file is truncated or corrupt.
    MismatchError
        If it belongs to other settings or inputs.
    """
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():  # torch.load does not check the CRCs of the archive
                raise zipfile.BadZipFile(f"{damaged} is not what was written")
        content = torch.load(path, weights_only=True, map_location="cpu")
        state, recorded = dict(content["state"]), content["made_from"]
    except Exception as error:  # torch raises pickle, zip and runtime errors
        first = str(error).splitlines()[0]
        raise FormatError(f"{path}: a truncated or corrupt checkpoint ({first}); delete it to start again") from None
    if recorded != made_from:
        raise MismatchError(f"{path}: made from {recorded}, this run from {made_from}; delete it to start again")
    return state


def truncate_log(path: Path, step: int) -> dict[int, dict[str, Any]]:
    """Drop log lines from ``step`` on, which an interrupted run wrote after its last checkpoint.

    Parameters
    ----------
    path
        JSON lines with a key ``step``.
    step
        First step that will run again.

    Returns
    -------
    dict
        Step → dropped line, without a last line that the interruption truncated.
    """
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    with replacing_text(path) as file:
        file.writelines(f"{line}\n" for line in lines if _step_of(line) < step)
    return {int(_step_of(line)): json.loads(line) for line in lines if step <= _step_of(line) < math.inf}


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError):
        return math.inf  # truncated

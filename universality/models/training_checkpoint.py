"""The file from which a training goes on: written whole or not at all, checked before it is believed."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from universality.errors import FormatError, MismatchError
from universality.files import replacing


def save_checkpoint(path: Path, state: Mapping[str, Any], made_from: str) -> None:
    """Write a training's state; until it is whole and on the disk, the one before stays.

    Parameters
    ----------
    state
        Tensors, numbers, text, and lists and dictionaries of them, ``step_count`` among them.
    made_from
        What `load_checkpoint` must be told again.

    Raises
    ------
    OSError
        If it cannot be written, on a full disk for instance.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            torch.save({"made_from": made_from, "state": dict(state)}, partial)
    except (OSError, RuntimeError) as error:  # RuntimeError: what PyTorch's writer makes of a full disk
        kept = f"the last good one, {path}, stays" if path.exists() else "there is none before it"
        first = str(error).splitlines()[0]
        raise OSError(
            f"{path.parent}: the checkpoint of step {state['step_count']} cannot be written ({first}); {kept}. Free "
            "space on this disk, and call again"
        ) from None


def load_checkpoint(path: Path, made_from: str) -> dict[str, Any] | None:
    """A training's state; None where there is no checkpoint.

    Raises
    ------
    FormatError
        If the file is torn or altered.
    MismatchError
        If it was made from something else.
    """
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():  # PyTorch reads over a flipped bit
                raise zipfile.BadZipFile(f"{damaged} is not what was written")
        found = torch.load(path, weights_only=True, map_location="cpu")
        state, recorded = dict(found["state"]), found["made_from"]
    except Exception as error:  # torch raises pickle, zip and runtime errors
        first = str(error).splitlines()[0]
        raise FormatError(f"{path}: a torn checkpoint ({first}); delete it to start again") from None
    if recorded != made_from:
        raise MismatchError(f"{path}: made from {recorded}, this run from {made_from}; delete it to start again")
    return state

"""Tensors of a ``.pt`` file, of which only what a state dict needs is let through.

Such a file is a ZIP archive with a pickle in it. ``weights_only`` keeps a pickle from calling what it likes; here it
may, besides, name nothing but tensors, so that it cannot ask for a terabyte of zeros either. Tensors stay on the disk
until they are used.
"""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from universality.errors import FormatError

LARGEST_PICKLE = 2**20
"""Bytes; that of an SAE has about a thousand."""
_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int")
ALLOWED = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {kind}Storage" for kind in _STORAGES),
}
"""What the pickle of a state dict names."""


def read_torch(path: Path) -> dict[str, Any]:
    """What the file holds: a dict, its tensors float32 or whole numbers, its other values plain.

    Raises
    ------
    FormatError
        If it is torn, in the format from before PyTorch 1.6, holds anything but a state dict, or claims more than it
        holds.
    """
    try:
        _check_archive(path)
        found = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    except FormatError:
        raise
    except Exception as error:  # torch raises pickle, zip and runtime errors
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise FormatError(f"{path}: cannot be read as a state dict: {first}") from None
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise FormatError(f"{path}: expected a state dict, found {type(found).__name__}")
    tensors = only_tensors(found)
    size, claimed = path.stat().st_size, sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if claimed > size:  # a stride of 0 makes a byte a terabyte
        raise FormatError(f"{path}: {size:,} bytes that claim to be tensors of {claimed:,}")
    floats = {name: tensor.detach().to(torch.float32) for name, tensor in tensors.items() if tensor.is_floating_point()}
    return found | floats


def only_tensors(found: dict[str, Any]) -> dict[str, Tensor]:
    """Those entries that are tensors."""
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def _check_archive(path: Path) -> None:
    """The archive's members are stored as they are, and its pickle names only what a state dict needs."""
    if not zipfile.is_zipfile(path):
        raise FormatError(
            f"{path}: not a ZIP archive as torch.save writes it; a file from before PyTorch 1.6 is a bare pickle, "
            "which is not read: save it again with a later PyTorch"
        )
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise FormatError(f"{path}: holds compressed members, which torch.save never writes")
        pickles = [member for member in members if member.filename.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > LARGEST_PICKLE:
            raise FormatError(f"{path}: expected one data.pkl of at most {LARGEST_PICKLE:,} bytes")
        content = archive.read(pickles[0])
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
            raise FormatError(f"{path}: its pickle uses {operation.name}, which no state dict needs; not loaded")
        if operation.name == "GLOBAL" and argument not in ALLOWED:
            raise FormatError(f"{path}: its pickle names {argument!r}, which no state dict needs; not loaded")

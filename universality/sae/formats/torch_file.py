"""Tensors of a ``.pt`` file, read without allowing its pickle more than a state dict needs.

Such a file is a ZIP archive that contains a pickle. ``weights_only`` prevents the pickle from calling arbitrary
functions. Here it may moreover name nothing but tensors, so that it cannot request a terabyte of zeros either. Tensors
stay on disk until they are used.
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
"""Largest pickle in bytes; that of an SAE has about a thousand."""
_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int")
ALLOWED = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {kind}Storage" for kind in _STORAGES),
}
"""Names that the pickle of a state dict may contain."""


def read_torch(path: Path) -> dict[str, Any]:
    """Read a state dict: float32 or integer tensors, and plain values.

    Raises
    ------
    FormatError
        If the file is corrupt, in the format from before PyTorch 1.6, contains anything but a state dict, or claims
        tensors larger than the file.
    """
    try:
        _check_archive(path)
        state = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    except FormatError:
        raise
    except Exception as error:  # torch raises pickle, zip and runtime errors
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise FormatError(f"{path}: cannot be read as a state dict: {first}") from None
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise FormatError(f"{path}: expected a state dict, found {type(state).__name__}")
    tensors = only_tensors(state)
    size, claimed = path.stat().st_size, sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if claimed > size:  # a stride of 0 presents one byte as a terabyte
        raise FormatError(f"{path}: {size:,} bytes that claim to be tensors of {claimed:,}")
    floats = {name: tensor.detach().to(torch.float32) for name, tensor in tensors.items() if tensor.is_floating_point()}
    return state | floats


def only_tensors(state: dict[str, Any]) -> dict[str, Tensor]:
    """Entries of a state dict that are tensors."""
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _check_archive(path: Path) -> None:
    """Check that members are uncompressed, and that the pickle names only what a state dict needs."""
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
    # Opcodes are listed, not run. A state dict names globals by GLOBAL alone; the others could hide a name.
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
            raise FormatError(f"{path}: its pickle uses {operation.name}, which no state dict needs; not loaded")
        if operation.name == "GLOBAL" and argument not in ALLOWED:
            raise FormatError(f"{path}: its pickle names {argument!r}, which no state dict needs; not loaded")

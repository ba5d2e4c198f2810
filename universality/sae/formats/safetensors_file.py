"""Tensors of a ``.safetensors`` file; the library checks the header against the file's length and maps the file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from universality.errors import FormatError
from universality.obstacles import check_openable

FLOATS = {torch.float64, torch.float32, torch.float16, torch.bfloat16}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors by name, as float32; those stored as float32 stay on disk until they are used.

    Raises
    ------
    FormatError
        If the file is truncated or corrupt, or holds anything but floating-point numbers.
    """
    check_openable(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{path}: cannot be read as safetensors: {error}") from None
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOATS:
            raise FormatError(f"{path}: {name} must hold floating-point numbers, found {tensor.dtype}")
    return {name: tensor.to(torch.float32) for name, tensor in tensors.items()}

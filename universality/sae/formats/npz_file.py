"""Tensors of a ``.npz`` file: a ZIP archive of ``.npy`` members, read without pickle and without being extracted."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.errors import FormatError

LARGEST_RATIO = 20
"""Largest ratio of unpacked to packed bytes. Weights hardly shrink; a ZIP bomb unpacks to a thousand times its size."""
ALLOWANCE = 2**20
"""Bytes that may be unpacked beyond that ratio, for biases of zeros."""
LARGEST_MEMBERS = 32
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: Path) -> dict[str, Tensor]:
    """Read all arrays by name, as float32. Uncompressed arrays stay on disk until they are used.

    Raises
    ------
    FormatError
        If the file is corrupt, unpacks to far more than its size, or contains anything but floating-point arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_sizes(path, members)
            arrays = {member.filename.removesuffix(".npy"): _array(path, archive, member) for member in members}
    except FormatError:
        raise
    except Exception as error:  # numpy, zipfile and zlib raise many types
        raise FormatError(f"{path}: cannot be read as npz: {error}") from None
    return {name: torch.from_numpy(array).to(torch.float32) for name, array in arrays.items()}


def _check_sizes(path: Path, members: list[zipfile.ZipInfo]) -> None:
    size, unpacked = path.stat().st_size, sum(member.file_size for member in members)
    if unpacked > LARGEST_RATIO * size + ALLOWANCE:
        raise FormatError(f"{path}: {size:,} bytes that claim to unpack to {unpacked:,}; not weights, and not unpacked")
    names = [member.filename for member in members]
    if len(set(names)) != len(names) or len(names) > LARGEST_MEMBERS or not all(n.endswith(".npy") for n in names):
        raise FormatError(f"{path}: expected at most {LARGEST_MEMBERS} different .npy members, found {names[:8]}")


def _array(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[np.floating]:
    """Read one member, whose header is compared with its size before anything is allocated."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise FormatError(f"{path}: {member.filename} has .npy version {version}; 1.0 and 2.0 can be read")
        shape, fortran, dtype = _HEADERS[version](file)
        start = file.tell()
        if dtype.kind != "f" or dtype.itemsize > 8 or not dtype.isnative:
            raise FormatError(f"{path}: {member.filename} must hold floating-point numbers, found {dtype}")
        # Python's integers: NumPy's would overflow, and a huge shape could pass for a small one
        claimed = dtype.itemsize * int(np.prod([int(n) for n in shape], dtype=object))
        if claimed != member.file_size - start or min(shape, default=0) < 0:
            raise FormatError(
                f"{path}: {member.filename} claims shape {list(shape)} of {dtype}, {claimed:,} bytes; "
                f"it holds {member.file_size - start:,}"
            )
        if member.compress_type != zipfile.ZIP_STORED or not shape:
            flat: NDArray[np.floating] = np.frombuffer(bytearray(file.read()), dtype)
            return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    with path.open("rb") as plain:
        offset = _data_offset(plain, member) + start
    if offset + claimed > path.stat().st_size:
        raise FormatError(f"{path}: {member.filename} ends beyond the end of the file")
    # mode "c", copy on write: torch warns about memory that is not writable
    return np.memmap(path, dtype, mode="c", offset=offset, shape=shape, order="F" if fortran else "C")


def _data_offset(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Offset of a member's bytes in the archive."""
    # they follow a local header of 30 bytes and two fields, whose lengths the header gives at 26 and 28
    file.seek(member.header_offset + 26)
    lengths = file.read(4)
    return member.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")

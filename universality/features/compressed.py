"""Spans of a compressed sparse matrix on disk, checked as they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from universality.errors import FormatError
from universality.features.hdf5 import reading


def read_span(
    path: Path, group: h5py.Group, start: int, stop: int, n_minor: int
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]:
    """Rows ``start`` up to ``stop`` of a CSR group, or columns of a CSC group.

    Parameters
    ----------
    path
        The file's name, for errors.
    group
        With ``data``, ``indices`` and ``indptr``.
    n_minor
        Exclusive limit of ``indices``.

    Returns
    -------
    data, indices, indptr
        As SciPy takes them; indptr begins at 0.

    Raises
    ------
    FormatError
        When bytes cannot be decoded, or pointers or indices lead outside the matrix (SciPy's compiled code
        would follow them).
    """
    name = group.name.strip("/")
    with reading(path, name):
        n_stored = len(group["data"])
        indptr = group["indptr"][start : stop + 1]
        check_indptr(path, name, indptr, n_stored)
        first, last = int(indptr[0]), int(indptr[-1])
        data: NDArray[Any] = group["data"][first:last]
        indices: NDArray[Any] = group["indices"][first:last]
    if len(indices) and not 0 <= indices.min() <= indices.max() < n_minor:
        raise FormatError(f"{path}: {name}/indices holds {indices.min()} … {indices.max()}, expected 0 … {n_minor - 1}")
    return data, indices, indptr - first


def check_indptr(path: Path, name: str, indptr: NDArray[np.int64], n_stored: int) -> None:
    """Refuse pointers that fall or lead beyond the stored entries."""
    if indptr[0] < 0 or indptr[-1] > n_stored or (indptr[1:] < indptr[:-1]).any():
        raise FormatError(f"{path}: {name}/indptr must rise from 0 to {n_stored}, the number of stored entries")

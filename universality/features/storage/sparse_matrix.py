"""The sparse matrices of a store on disk: spans of rows or columns, checked as they are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from universality.arrays import runs_within
from universality.errors import FormatError
from universality.features.storage.chunks import read_array
from universality.features.storage.hdf5 import reading

_ROWS = 1 << 20  # row pointers read at a time


def read_span(
    path: Path, group: h5py.Group, start: int, stop: int, n_minor: int
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]:
    """Read rows ``start`` up to ``stop`` of a CSR group, or columns of a CSC group.

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
        data, indices = (read_array(group[part], first, last) for part in ("data", "indices"))
    if len(indices) and not 0 <= indices.min() <= indices.max() < n_minor:
        raise FormatError(f"{path}: {name}/indices holds {indices.min()} … {indices.max()}, expected 0 … {n_minor - 1}")
    return data, indices, indptr - first


def check_indptr(path: Path, name: str, indptr: NDArray[np.int64], n_stored: int) -> None:
    """Raise an error for pointers that fall or lead beyond the stored entries."""
    if indptr[0] < 0 or indptr[-1] > n_stored or (indptr[1:] < indptr[:-1]).any():
        raise FormatError(f"{path}: {name}/indptr must rise from 0 to {n_stored}, the number of stored entries")


def row_ranges(path: Path, group: h5py.Group, n_rows: int, limit: int) -> Iterator[tuple[int, int]]:
    """Split the rows of a CSR group into ranges of at most ``limit`` rows and entries, or one row."""
    for first in range(0, n_rows, _ROWS):
        with reading(path, "by_token"):
            indptr = group["indptr"][first : min(first + _ROWS, n_rows) + 1]
            check_indptr(path, "by_token", indptr, len(group["data"]))
        for start, stop in runs_within(np.diff(indptr) + 1, limit):
            yield first + start, first + stop

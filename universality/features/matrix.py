"""The sparse matrix of a store on disk: arrays that grow chunk by chunk, and spans that are checked as they are read.

HDF5 compresses under a global lock on one thread. Here whole chunks are shuffled and deflated in threads (zlib releases
the GIL) and stored with `write_direct_chunk`. The strategy, run lengths, is chosen for shuffled planes of bytes: high
bytes repeat, so do the low ones of values that were rounded, and nothing else does. Any inflate reads it.
`tests/bench/store.py` measures.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from universality.errors import FormatError
from universality.features.hdf5 import Checksum, label, reading

CHUNK = 1 << 16  # entries: 256 KiB of float32, 2,048 rows of 32 firings
_ROWS = 1 << 20  # row pointers read at a time
_AHEAD = 32  # chunks that may wait for a thread or for the disk, an array


class GrowingArray:
    """A 1-D dataset, appended to piece by piece; `close` returns the checksum of its contents.

    Parameters
    ----------
    group, name
        Where the dataset is made.
    dtype
        Little-endian NumPy dtype, such as ``"<f4"``.
    pool
        Threads that compress.
    """

    def __init__(self, group: h5py.Group, name: str, dtype: str, pool: ThreadPoolExecutor) -> None:
        self._dtype = np.dtype(dtype)
        self._dataset = group.create_dataset(
            name, (0,), self._dtype, chunks=(CHUNK,), maxshape=(None,), shuffle=True, compression="gzip",
            compression_opts=1,
        )  # fmt: skip
        label(self._dataset, "array")
        self._pool = pool
        self._tail: NDArray[Any] = np.empty(0, self._dtype)
        self._waiting: deque[tuple[int, Future[bytes]]] = deque()
        self._submitted = 0
        self._sha256 = hashlib.sha256()

    def append(self, values: NDArray[Any]) -> None:
        """Add values [n] at the end; they must not change before `close`."""
        values = np.ascontiguousarray(values, self._dtype)
        self._sha256.update(values.data)
        joined = np.concatenate([self._tail, values]) if len(self._tail) else values
        whole = len(joined) // CHUNK * CHUNK
        for start in range(0, whole, CHUNK):
            chunk = joined[start : start + CHUNK]
            self._waiting.append((self._submitted, self._pool.submit(compressed, chunk)))
            self._submitted += CHUNK
            self._store(_AHEAD)
        self._tail = joined[whole:].copy()

    def close(self) -> Checksum:
        """Write the rest; nothing may be appended after."""
        self._store(0)
        length = self._submitted + len(self._tail)
        self._dataset.resize((length,))
        if len(self._tail):  # HDF5 pads and deflates the last chunk itself
            self._dataset[self._submitted :] = self._tail
        return Checksum(self._dtype.str, (length,), self._sha256.hexdigest())

    def _store(self, keep: int) -> None:
        if len(self._waiting) > keep:
            self._dataset.resize((self._submitted,))
        while len(self._waiting) > keep:
            offset, future = self._waiting.popleft()
            self._dataset.id.write_direct_chunk((offset,), future.result())


def compressed(chunk: NDArray[Any], strategy: int = zlib.Z_RLE) -> bytes:
    """What HDF5's shuffle and deflate filters make of a chunk: byte planes, as a zlib stream."""
    planes = np.ascontiguousarray(chunk.view(np.uint8).reshape(-1, chunk.itemsize).T)
    stream = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    return stream.compress(planes.data) + stream.flush()


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


def row_ranges(path: Path, group: h5py.Group, n_rows: int, limit: int) -> Iterator[tuple[int, int]]:
    """Split the rows of a CSR group into ranges whose rows and entries together are at most ``limit``, or one row."""
    for first in range(0, n_rows, _ROWS):
        with reading(path, "by_token"):
            indptr = group["indptr"][first : min(first + _ROWS, n_rows) + 1]
            check_indptr(path, "by_token", indptr, len(group["data"]))
        for start, stop in ranges(np.diff(indptr) + 1, limit):
            yield first + start, first + stop


def ranges(count: NDArray[np.int64], n_entries: int) -> Iterator[tuple[int, int]]:
    """Split columns [n] into ranges with at most ``n_entries`` entries, or one column, each."""
    ends = np.cumsum(count)
    start = 0
    while start < len(count):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + n_entries, side="right")))
        yield start, stop
        start = stop

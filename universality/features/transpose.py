"""From rows to columns in bounded memory: the feature-major copy of a store.

Blocks of rows arrive in order. Each is transposed in memory and laid on scratch disk as a run; the columns of
all runs are then joined, a range of columns at a time. Every entry is written once and read once.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@dataclass(frozen=True)
class _Run:
    """A transposed block of rows, at these bytes of the scratch file: starts of columns, rows, values."""

    n_rows: int
    starts: int
    rows: int
    values: int


class Transposer:
    """Takes CSR blocks in row order, gives the columns of their concatenation.

    Parameters
    ----------
    n_features
        Columns of each block.
    folder
        Where the scratch file goes; it has no name there, so nothing remains of a killed process.
    """

    def __init__(self, n_features: int, folder: Path) -> None:
        self._n_features = n_features
        self._folder = folder
        self._scratch: IO[bytes] | None = None
        self._runs: list[_Run] = []
        self._last: sparse.csc_matrix | None = None  # stays in memory: a small store needs no scratch file

    def add(self, block: sparse.csr_matrix) -> None:
        """The next rows: CSR [n, n_features] with int32 indices."""
        if self._last is not None:
            self._spill(self._last)
        self._last = block.tocsc()

    def columns(self, count: NDArray[np.int64], n_entries: int) -> Iterator[sparse.csc_matrix]:
        """The matrix as successive ranges of columns, CSC [n_tokens, any] with sorted indices.

        Parameters
        ----------
        count
            int64 [n_features], stored entries of each column.
        n_entries
            Entries of a range at most; a longer column makes a range of its own.
        """
        if self._last is None:
            return
        if self._scratch is not None:
            self._scratch.flush()
        for start, stop in ranges(count, n_entries):
            parts = [self._part(run, start, stop) for run in self._runs]
            parts.append(self._last[:, start:stop])
            yield parts[0] if len(parts) == 1 else sparse.vstack(parts, format="csc")

    def close(self) -> None:
        """Give the scratch space back."""
        self._last = None
        if self._scratch is not None:
            with suppress(OSError):  # on a full disk; what it holds is not wanted any more
                self._scratch.close()

    def _spill(self, block: sparse.csc_matrix) -> None:
        if self._scratch is None:
            self._scratch = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (closed by close)
        starts, rows, values = (
            self._write(self._scratch, array)
            for array in (block.indptr.astype(np.int64), block.indices.astype(np.int32), block.data)
        )
        self._runs.append(_Run(block.shape[0], starts, rows, values))

    @staticmethod
    def _write(file: IO[bytes], array: NDArray[Any]) -> int:
        offset = file.tell()
        file.write(array.data)
        return offset

    def _part(self, run: _Run, start: int, stop: int) -> sparse.csc_matrix:
        starts = self._read(np.int64, run.starts, start, stop + 1)
        first, last = int(starts[0]), int(starts[-1])
        rows = self._read(np.int32, run.rows, first, last)
        values = self._read(np.float32, run.values, first, last)
        return sparse.csc_matrix((values, rows, starts - first), shape=(run.n_rows, stop - start))

    def _read(self, dtype: type[np.generic], offset: int, start: int, stop: int) -> NDArray[Any]:
        assert self._scratch is not None
        size = np.dtype(dtype).itemsize
        return np.frombuffer(_pread(self._scratch.fileno(), (stop - start) * size, offset + start * size), dtype)


def ranges(count: NDArray[np.int64], n_entries: int) -> Iterator[tuple[int, int]]:
    """Split columns [n] into ranges with at most ``n_entries`` entries, or one column, each."""
    ends = np.cumsum(count)
    start = 0
    while start < len(count):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + n_entries, side="right")))
        yield start, stop
        start = stop


def _pread(descriptor: int, n_bytes: int, offset: int) -> bytes:
    """All the bytes: one call gives 2 GiB at most."""
    parts = []
    while n_bytes:
        part = os.pread(descriptor, n_bytes, offset)
        if not part:
            raise OSError("the scratch file of a feature store ended early; is the disk full?")
        parts.append(part)
        n_bytes, offset = n_bytes - len(part), offset + len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)

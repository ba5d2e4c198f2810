"""Entries (row, feature, value) in any order, put in the order of rows in bounded memory (an external merge sort).

Entries are held until the memory budget is used, then sorted and written as a *run* to a file without a name, which
vanishes with the process. At the end, ranges of rows are read from all runs and merged. Entries that fit into the
budget never reach the disk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from universality.arrays import IntArray, runs_within
from universality.errors import FormatError, UniversalityError

_BYTES = 64
"""Memory for an entry while it is sorted: key and value twice, their order, the sort's own and the finished CSR."""
_FEWEST = 1000  # entries that a budget must hold; below, the runs would be too many


class _Run(NamedTuple):
    """Sorted entries: ``n`` keys at ``start`` of the file, then as many values."""

    start: int
    n: int


class EntrySorter:
    """Collect entries of a matrix [n_rows, n_features], then iterate over its rows; a context manager.

    Parameters
    ----------
    folder
        Where the temporary file lies: 12 bytes an entry.
    n_rows, n_features
        Shape of the matrix; entries given to `add` must be within it.
    memory_budget
        Bytes for the entries that are sorted at a time. Counts of rows take another 8 bytes a row.
    name_row
        Gives the place of a row in the source, for errors.

    Raises
    ------
    UniversalityError
        If the budget is too small to sort anything.
    """

    def __init__(
        self, folder: Path, n_rows: int, n_features: int, memory_budget: int, name_row: Callable[[int], str]
    ) -> None:
        self._limit = memory_budget // _BYTES
        if self._limit < _FEWEST:
            raise UniversalityError(
                f"memory_budget: sorting needs at least {_FEWEST * _BYTES:,} bytes, found {memory_budget:,}"
            )
        self._folder, self._name_row = folder, name_row
        self._shape = n_rows, n_features
        self._count = np.zeros(n_rows, np.int64)
        self._waiting: list[tuple[IntArray, NDArray[np.float32]]] = []
        self._n_waiting = 0
        self._runs: list[_Run] = []
        self._file: IO[bytes] | None = None

    @property
    def batch(self) -> int:
        """Number of entries to give to `add` at a time."""
        return max(_FEWEST // 4, self._limit // 4)

    def add(self, row: NDArray[Any], feature: NDArray[Any], value: NDArray[np.float32]) -> None:
        """Add entries [n] in any order."""
        key = row.astype(np.int64) * self._shape[1] + feature.astype(np.int64)
        self._waiting.append((key, value))
        self._n_waiting += len(key)
        if self._n_waiting + self.batch > self._limit:
            self._write(*self._sorted())

    def blocks(self) -> Iterator[tuple[slice, sparse.csr_matrix]]:
        """Yield successive ranges that cover all rows, with their entries as float32 CSR [n, n_features].

        Raises
        ------
        FormatError
            If a feature is named twice in a row.
        """
        last = self._sorted()
        if self._file is not None:
            self._write(*last)
        ends = list(runs_within(self._count + 1, self._limit))
        places = [self._places(run, ends) for run in self._runs]
        for i, (start, stop) in enumerate(ends):
            key, value = last if self._file is None else self._merged(i, places)
            if self._file is None:
                low, high = np.searchsorted(key, [start * self._shape[1], stop * self._shape[1]])
                key, value = key[low:high], value[low:high]
            yield slice(start, stop), self._csr(key, value, start, stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def _sorted(self) -> tuple[IntArray, NDArray[np.float32]]:
        """Take the waiting entries, sorted by row and feature, and count those of each row."""
        if not self._waiting:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        keys, values = zip(*self._waiting, strict=True)
        self._waiting, self._n_waiting = [], 0
        key, value = np.concatenate(keys), np.concatenate(values)
        if (key[1:] < key[:-1]).any():  # sources that are sorted already pay for the comparison only
            order = np.argsort(key)
            key, value = key[order], value[order]
        row = key // self._shape[1]
        starts = np.flatnonzero(np.append(True, row[1:] != row[:-1]))
        self._count[row[starts]] += np.diff(np.append(starts, len(row)))
        return key, value

    def _write(self, key: IntArray, value: NDArray[np.float32]) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by __exit__
        if len(key):
            self._runs.append(_Run(self._file.tell(), len(key)))
            self._file.write(key.data)
            self._file.write(value.data)

    def _places(self, run: _Run, ends: list[tuple[int, int]]) -> IntArray:
        """Return where each range of rows begins and ends within a run, [n_ranges + 1]."""
        assert self._file is not None
        self._file.flush()
        key = np.memmap(self._file, np.int64, "r", run.start, (run.n,))
        bounds = np.array([start for start, _ in ends] + [self._shape[0]], np.int64) * self._shape[1]
        return np.searchsorted(key, bounds).astype(np.int64)

    def _merged(self, i: int, places: list[IntArray]) -> tuple[IntArray, NDArray[np.float32]]:
        keys, values = [], []
        for run, place in zip(self._runs, places, strict=True):
            low, high = place[i : i + 2].tolist()
            keys.append(self._read(np.int64, run.start + 8 * low, high - low))
            values.append(self._read(np.float32, run.start + 8 * run.n + 4 * low, high - low))
        key, value = np.concatenate(keys), np.concatenate(values)
        order = np.argsort(key, kind="stable")  # timsort merges the runs, which are sorted already
        return key[order], value[order]

    def _read(self, dtype: type[np.generic], offset: int, n: int) -> NDArray[Any]:
        assert self._file is not None
        self._file.seek(offset)
        return np.fromfile(self._file, dtype, n)

    def _csr(self, key: IntArray, value: NDArray[np.float32], start: int, stop: int) -> sparse.csr_matrix:
        repeated = np.flatnonzero(key[1:] == key[:-1])
        if len(repeated):
            row, feature = divmod(int(key[repeated[0]]), self._shape[1])
            raise FormatError(f"{self._name_row(row)}: feature {feature} is named twice there; each entry counts once")
        indptr = np.append(0, np.cumsum(self._count[start:stop]))
        indices = (key % self._shape[1]).astype(np.int32)
        return sparse.csr_matrix((value, indices, indptr), shape=(stop - start, self._shape[1]))

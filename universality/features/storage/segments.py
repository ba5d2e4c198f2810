"""Committed rows of an unfinished store, stored by column and recovered after a kill.

`NAME.segments`, beside the store that is being written, is a sequence of records. Each begins with its length and a
CRC-32 of its contents, so a record that a kill truncated is recognised and dropped, with whatever follows it, when the
file is read again. The first record describes the store that is being written; every other holds a segment: a block of
rows as columns, in row order within each. The file serves twice: a killed writer resumes from it, and `columns` joins
the columns of all segments, range by range, into the feature-major copy. Every entry is written once and read once, in
bounded memory.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from universality.arrays import runs_within
from universality.errors import MismatchError

_RECORD = struct.Struct("<8sQI")  # mark, bytes that follow, their CRC-32
_SIZES = struct.Struct("<QQQ")  # rows, entries, bytes of the names of new kinds
_BEGUN, _SEGMENT = b"univers1", b"segment1"  # the digit is the version: files of other versions are not resumed
_TABLE = (("token", "<i4"), ("document", "<i4"), ("position", "<i4"), ("kind", "<i2"))


@dataclass(frozen=True, eq=False)
class Segment:
    """A block of rows: CSR [n, n_features], columns of the token table [n], and the kinds first seen in it."""

    csr: sparse.csr_matrix
    token: NDArray[np.int32]
    document: NDArray[np.int32]
    position: NDArray[np.int32]
    kind: NDArray[np.int16]
    new_kinds: tuple[str, ...]


@dataclass(frozen=True)
class _Run:
    """Position of a segment's columns in the file: offsets of their starts, rows and values."""

    n_rows: int
    starts: int
    rows: int
    values: int


class Segments:
    """The committed rows of one writer; the file appears with the first of them.

    Parameters
    ----------
    path
        Name of the file.
    n_features
        Columns of every segment.
    begun
        Description of the store that is being written, as JSON; a later writer must give the same.
    """

    def __init__(self, path: Path, n_features: int, begun: Mapping[str, Any]) -> None:
        self.path = path
        self._n_features = n_features
        self._begun = begun
        self._file: IO[bytes] | None = None
        self._runs: list[_Run] = []
        self._held: sparse.csc_matrix | None = None

    def fit(self) -> bool:
        """True where the file belongs to the same store, or is missing."""
        if not self.path.exists():
            return True
        with self.path.open("rb") as file:
            begun = _read_record(file, _BEGUN)
        return begun is None or json.loads(begun) == self._begun

    def recover(self) -> Iterator[Segment]:
        """Yield the intact segments of an earlier writer, and cut the file after them.

        Raises
        ------
        MismatchError
            When they belong to another store.
        """
        if not self.path.exists():
            return
        file = self._file = self.path.open("r+b")
        begun = _read_record(file, _BEGUN)
        if begun is None:  # killed while the first record was written: nothing is lost
            self.remove()
            return
        self._compare(json.loads(begun))
        end = file.tell()
        while (contents := _read_record(file, _SEGMENT)) is not None:
            segment = self._segment(contents, end + _RECORD.size)
            end = file.tell()
            yield segment
        file.truncate(end)  # a truncated record must not lie between whole ones: reading would stop at it
        file.seek(end)

    def append(self, segment: Segment) -> None:
        """Commit a segment: once this returns, killing the process does not lose it.

        The bytes are then with the operating system, not yet on the disk; a power cut may lose them, and the CRC finds
        that. Waiting for the disk at every commit would cost more than the rows are worth.
        """
        if self._file is None:
            self._file = self.path.open("w+b")
            _write_record(self._file, _BEGUN, [json.dumps(self._begun).encode()])
        columns, names = segment.csr.tocsc(), json.dumps(segment.new_kinds).encode()
        starts = self._file.tell() + _RECORD.size + _SIZES.size
        parts = [
            _SIZES.pack(columns.shape[0], columns.nnz, len(names)),
            columns.indptr.astype("<i8").data,
            columns.indices.astype("<i4").data,
            columns.data.astype("<f4").data,
            *(np.ascontiguousarray(getattr(segment, name), dtype).data for name, dtype in _TABLE),
            names,
        ]
        _write_record(self._file, _SEGMENT, parts)
        self._runs.append(self._run(columns.shape[0], columns.nnz, starts))

    def hold(self, segment: Segment) -> None:
        """Add the last segment in memory only: `finish` follows, so a small store never needs the file."""
        self._held = segment.csr.tocsc()

    def columns(self, count: NDArray[np.int64], n_entries: int) -> Iterator[sparse.csc_matrix]:
        """Join all segments and yield successive ranges of columns, CSC [n_tokens, any] with sorted indices.

        Parameters
        ----------
        count
            int64 [n_features], stored entries of each column.
        n_entries
            Largest number of entries of a range; a longer column makes a range of its own.
        """
        for start, stop in runs_within(count, n_entries):
            parts = [self._part(run, start, stop) for run in self._runs]
            if self._held is not None:
                parts.append(self._held[:, start:stop])
            if parts:
                yield parts[0] if len(parts) == 1 else sparse.vstack(parts, format="csc")

    def close(self) -> None:
        """Release memory and close the file, which stays on disk."""
        self._held = None
        if self._file is not None:
            with suppress(OSError):  # on a full disk; what could not be flushed is not committed
                self._file.close()
            self._file = None

    def remove(self) -> None:
        """Close and delete the file."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _compare(self, begun: Mapping[str, Any]) -> None:
        now = self._begun
        differ = sorted(key for key in {*begun, *now} if begun.get(key) != now.get(key))
        if differ:
            changes = ", ".join(f"{key} {begun.get(key)!r:.200} (now {now.get(key)!r:.200})" for key in differ)
            raise MismatchError(
                f"{self.path}: begun for another store: {changes}; "
                "resume with what it was begun for, or pass resume=False"
            )

    def _run(self, n_rows: int, n_entries: int, starts: int) -> _Run:
        rows = starts + 8 * (self._n_features + 1)
        return _Run(n_rows, starts, rows, rows + 4 * n_entries)

    def _segment(self, contents: bytes, at: int) -> Segment:
        n_rows, n_entries, n_names = _SIZES.unpack_from(contents)
        offset = _SIZES.size

        def take(dtype: str, n: int) -> NDArray[Any]:
            nonlocal offset
            array = np.frombuffer(contents, dtype, n, offset)
            offset += array.nbytes
            return array

        self._runs.append(self._run(n_rows, n_entries, at + offset))
        starts, rows, values = take("<i8", self._n_features + 1), take("<i4", n_entries), take("<f4", n_entries)
        table = {name: take(dtype, n_rows) for name, dtype in _TABLE}
        names = tuple(json.loads(contents[offset : offset + n_names]))
        csc = sparse.csc_matrix((values, rows, starts), shape=(n_rows, self._n_features))
        return Segment(csc.tocsr(), **table, new_kinds=names)

    def _part(self, run: _Run, start: int, stop: int) -> sparse.csc_matrix:
        starts = self._read(np.int64, run.starts, start, stop + 1)
        first, last = int(starts[0]), int(starts[-1])
        rows = self._read(np.int32, run.rows, first, last)
        values = self._read(np.float32, run.values, first, last)
        return sparse.csc_matrix((values, rows, starts - first), shape=(run.n_rows, stop - start))

    def _read(self, dtype: type[np.generic], offset: int, start: int, stop: int) -> NDArray[Any]:
        assert self._file is not None
        size = np.dtype(dtype).itemsize
        return np.frombuffer(_pread(self._file.fileno(), (stop - start) * size, offset + start * size), dtype)


def _write_record(file: IO[bytes], mark: bytes, parts: list[Any]) -> None:
    checksum, length = 0, 0
    for part in parts:
        checksum, length = zlib.crc32(part, checksum), length + memoryview(part).nbytes
    file.write(_RECORD.pack(mark, length, checksum))
    for part in parts:
        file.write(part)
    file.flush()


def _read_record(file: IO[bytes], mark: bytes) -> bytes | None:
    """Read the contents of the next record; None where there is no intact one."""
    head = file.read(_RECORD.size)
    if len(head) < _RECORD.size:
        return None
    found_mark, length, checksum = _RECORD.unpack(head)
    # A damaged length must not make this read, or allocate, more than the file holds.
    if found_mark != mark or length > os.fstat(file.fileno()).st_size - file.tell():
        return None
    contents = file.read(length)
    return contents if zlib.crc32(contents) == checksum else None


def _pread(descriptor: int, n_bytes: int, offset: int) -> bytes:
    """Read all bytes: one call returns 2 GiB at most."""
    parts = []
    while n_bytes:
        part = os.pread(descriptor, n_bytes, offset)
        if not part:
            raise OSError("the segments of an unfinished feature store end early; is the disk full?")
        parts.append(part)
        n_bytes, offset = n_bytes - len(part), offset + len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)

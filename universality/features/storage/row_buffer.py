"""Rows that wait to be committed, the codes of their kinds, and the document table that they imply."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from universality.arrays import runs_within
from universality.corpus.documents import MAX_KINDS, DocumentTable
from universality.errors import FormatError
from universality.features.storage.hdf5 import check_text
from universality.features.storage.row_batch import Batch
from universality.features.storage.segments import Segment


class Buffer:
    """Rows that wait to be committed, each column in one array that is allocated once and reused.

    Many small long-lived arrays between large short-lived ones would fragment the heap until no large one fits.
    """

    _DTYPES: ClassVar = {
        "data": np.float32, "indices": np.int32, "lengths": np.int64,
        "token": np.int32, "document": np.int32, "position": np.int32, "kind": np.int16,
    }  # fmt: skip

    def __init__(self) -> None:
        self._columns: dict[str, NDArray[Any]] = {name: np.empty(0, dtype) for name, dtype in self._DTYPES.items()}
        self._n_rows = self._n_entries = 0

    def __len__(self) -> int:
        """Rows and entries together."""
        return self._n_rows + self._n_entries

    def add(self, batch: Batch, kind: NDArray[np.int16]) -> None:
        """Copy a batch, with the codes of its kinds."""
        for name in self._DTYPES:
            values = kind if name == "kind" else getattr(batch, name)
            at = self._end(name)
            if len(self._columns[name]) < at + len(values):
                grown = np.empty(max(at + len(values), 2 * at), values.dtype)
                grown[:at] = self._columns[name][:at]
                self._columns[name] = grown
            self._columns[name][at : at + len(values)] = values
        self._n_rows += len(batch)
        self._n_entries += len(batch.data)

    def take(self, n_features: int, limit: int, new_kinds: tuple[str, ...]) -> list[Segment]:
        """Empty the buffer into one segment, or into several where more than ``limit`` entries came at once."""
        table = {name: column[: self._end(name)].copy() for name, column in self._columns.items()}
        self._n_rows = self._n_entries = 0
        data, indices = table.pop("data"), table.pop("indices")
        indptr = np.append(0, np.cumsum(table.pop("lengths")))
        taken: list[Segment] = []
        for start, stop in runs_within(np.diff(indptr), limit):
            part = slice(*indptr[[start, stop]].tolist())
            pointers = indptr[start : stop + 1] - indptr[start]
            csr = sparse.csr_matrix((data[part], indices[part], pointers), shape=(stop - start, n_features))
            columns = {name: column[start:stop] for name, column in table.items()}
            taken.append(Segment(csr, **columns, new_kinds=() if taken else new_kinds))
        return taken

    def _end(self, name: str) -> int:
        return self._n_entries if name in ("data", "indices") else self._n_rows


class Kinds:
    """Codes of kinds in the order of their first row, so that they do not depend on how rows were batched."""

    def __init__(self) -> None:
        self._code: dict[str, int] = {}
        self._of_document: dict[int, str] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Kinds so far; the code of a kind is its position."""
        return tuple(self._code)

    def add(self, kind: NDArray[np.str_], document: NDArray[np.int32], where: str) -> NDArray[np.int16]:
        """Code the kinds of rows [n] as int16; the errors name ``where``.

        Raises
        ------
        FormatError
            When there are more kinds than an int16 counts, or HDF5 cannot hold a name.
        """
        starts = _run_starts(kind)
        names: list[str] = kind[starts].tolist()
        new = [name for name in dict.fromkeys(names) if name not in self._code]
        check_text(where, new)
        if len(self._code) + len(new) > MAX_KINDS:
            raise FormatError(
                f"{where}: a store holds {MAX_KINDS} kinds at most, found {len(self._code) + len(new)}; "
                "is kind= a label of each document?"
            )
        self._code |= {name: len(self._code) + i for i, name in enumerate(new)}
        for row in _run_starts(document).tolist():
            self._of_document.setdefault(int(document[row]), str(kind[row]))
        codes = np.array([self._code[name] for name in names], np.int16)
        return np.repeat(codes, np.diff(np.append(starts, len(kind))))

    def documents(self) -> DocumentTable:
        """Make a table of the document indices seen: named and grouped by index, with the kind of their first row."""
        n_documents = max(self._of_document, default=-1) + 1
        ids = tuple(str(index) for index in range(n_documents))
        kinds = tuple(self._of_document.get(index, "") for index in range(n_documents))
        return DocumentTable(id=ids, kind=kinds, group=ids, split=("report",) * n_documents)


def _run_starts(values: NDArray[Any]) -> NDArray[np.int64]:
    """Starts of runs of equal values: rows of one document are neighbours, so runs are few."""
    return np.flatnonzero(np.append(np.ones(min(1, len(values)), bool), values[1:] != values[:-1]))

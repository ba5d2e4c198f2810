"""Names of kinds as small integers, and the document table that rows imply when none was given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from universality.corpus.documents import DocumentTable
from universality.errors import FormatError
from universality.features.hdf5 import check_text

_INT16_MAX = np.iinfo(np.int16).max


class Kinds:
    """Codes of kinds in the order of their first row, so that they do not depend on how rows were batched."""

    def __init__(self) -> None:
        self._code: dict[str, int] = {}
        self._of_document: dict[int, str] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The kinds so far; the code of each is its place."""
        return tuple(self._code)

    def add(self, kind: NDArray[np.str_], document: NDArray[np.int32], where: str) -> NDArray[np.int16]:
        """The codes of rows [n], int16; the errors name ``where``.

        Raises
        ------
        FormatError
            When there are more kinds than an int16 counts, or HDF5 cannot hold a name.
        """
        starts = _run_starts(kind)
        names: list[str] = kind[starts].tolist()
        new = [name for name in dict.fromkeys(names) if name not in self._code]
        check_text(where, new)
        if len(self._code) + len(new) > _INT16_MAX:
            raise FormatError(
                f"{where}: a store holds {_INT16_MAX} kinds at most, found {len(self._code) + len(new)}; "
                "is kind= a label of each document?"
            )
        self._code |= {name: len(self._code) + i for i, name in enumerate(new)}
        for row in _run_starts(document).tolist():
            self._of_document.setdefault(int(document[row]), str(kind[row]))
        codes = np.array([self._code[name] for name in names], np.int16)
        return np.repeat(codes, np.diff(np.append(starts, len(kind))))

    def documents(self) -> DocumentTable:
        """A table of the document indices seen: named and grouped by index, of their first row's kind."""
        n_documents = max(self._of_document, default=-1) + 1
        ids = tuple(str(index) for index in range(n_documents))
        kinds = tuple(self._of_document.get(index, "") for index in range(n_documents))
        return DocumentTable(id=ids, kind=kinds, group=ids, split=("report",) * n_documents)


def _run_starts(values: NDArray[Any]) -> NDArray[np.int64]:
    """Where runs of equal values begin: rows of one document are neighbours, so runs are few."""
    return np.flatnonzero(np.append(np.ones(min(1, len(values)), bool), values[1:] != values[:-1]))

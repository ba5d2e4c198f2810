"""Table of documents, to which token rows refer by integer index."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from universality.corpus.splits import CHOOSE, REPORT, TRAIN
from universality.errors import CorpusError

_NOT_IN_HDF5 = re.compile("[\0\ud800-\udfff]")
SPLITS = (TRAIN, CHOOSE, REPORT)
MAX_NAME = 4096
"""Longest id, kind or group, in characters: a feature store pads every name to the longest in its column."""
MAX_KINDS = 32_767
"""Most kinds in one feature store, which numbers them in 16 bits."""


@dataclass(frozen=True)
class DocumentTable:
    """Id, kind, group and split of each document; row ``i`` describes document ``i`` of the token rows.

    Parameters
    ----------
    id
        [n_documents] name of each document in its corpus.
    kind
        [n_documents] category of its text ("en", "base64", "dna", ...).
    group
        [n_documents] work that it is part of. Splits and bootstraps keep the documents of a group together, except in
        flagged kinds (`universality.corpus.splits`).
    split
        [n_documents] "train", "choose" (the half that chooses partners) or "report" (the half that reports).

    Raises
    ------
    CorpusError
        If the columns differ in length, hold anything but text, or name an unknown split.
    """

    id: tuple[str, ...]
    kind: tuple[str, ...]
    group: tuple[str, ...]
    split: tuple[str, ...]

    def __post_init__(self) -> None:
        columns = {field.name: tuple(getattr(self, field.name)) for field in fields(self)}
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise CorpusError(f"a document table needs columns of one length, found {lengths}")
        for name, column in columns.items():
            _check_text(name, column)
            object.__setattr__(self, name, column)
        for row, split in enumerate(self.split):
            if split not in SPLITS:
                raise CorpusError(
                    f"document {row} ({self.id[row]!r}): unknown split {split!r}; choose one of {', '.join(SPLITS)}"
                )

    def __len__(self) -> int:
        return len(self.id)


def name_fault(value: str) -> str | None:
    """Explain why a feature store cannot hold a name and what to do; None if it can."""
    if len(value) > MAX_NAME:
        return f"has {len(value)} characters, {MAX_NAME} are allowed; shorten it"
    # HDF5 text ends at a NUL and is UTF-8, which has no lone surrogates.
    if _NOT_IN_HDF5.search(value):
        return "holds a NUL or a lone surrogate, which HDF5 text cannot; rename it"
    return None


def _check_text(name: str, column: tuple[str, ...]) -> None:
    for row, value in enumerate(column):
        if not isinstance(value, str):
            raise CorpusError(f"document {row}: {name} must be text, found {type(value).__name__} {value!r}")

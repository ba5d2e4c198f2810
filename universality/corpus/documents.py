"""The table of documents that token rows refer to by integer index."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from universality.errors import CorpusError

_NOT_IN_HDF5 = re.compile("[\0\ud800-\udfff]")
SPLITS = ("train", "choose", "report")
MAX_NAME = 4096
"""Characters of an id, kind or group: a feature store gives every name the space of the longest in its column."""
MAX_KINDS = 32_767
"""Kinds of one feature store, which numbers them in 16 bits."""


@dataclass(frozen=True)
class DocumentTable:
    """What is known of each document; row ``i`` describes the document that token rows call ``i``.

    Parameters
    ----------
    id
        [n_documents] the name of each document in its corpus.
    kind
        [n_documents] what sort of text it is ("en", "base64", "dna", ...).
    group
        [n_documents] documents of one source share a group; splits and bootstraps never cut through one.
    split
        [n_documents] "train", "choose" (the half that chooses partners) or "report" (the half that reports).

    Raises
    ------
    CorpusError
        When the columns differ in length, hold something other than text, or name an unknown split.
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
    """Why a feature store cannot hold a name, and what to do; None where it can."""
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

"""Concepts that the literature reports features for, and files of such concepts.

A file has one concept a row: JSON lines (``.jsonl``) of objects, or CSV with a header (``.csv``), with ``name``,
``description`` and, if known, ``source``.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from universality.checked_json import Settings
from universality.errors import FormatError
from universality.files import as_path
from universality.labels.published import PublishedLabels, whole_characters
from universality.obstacles import check_openable

LARGEST = 16 * 2**20
"""Largest file in bytes."""
_LONGEST = 2000
_KEYS = ("name", "description", "source")


@dataclass(frozen=True)
class Concept:
    """Something that a published feature responds to.

    Parameters
    ----------
    name
        Short name, distinct from those of the other concepts.
    description
        Explanation of the feature, as an explainer would write it. It is scored on features, and its words, not those
        of the name, choose which.
    source
        Publication.
    """

    name: str
    description: str
    source: str = ""


_BRICKEN = "Bricken et al. 2023, Towards Monosemanticity"
CONCEPTS = (
    Concept("arabic-script", "text in Arabic script", _BRICKEN),
    Concept("base64", "strings in base64 encoding: long runs of random letters and digits", _BRICKEN),
    Concept("dna", "DNA sequences: long runs of the letters A, C, G and T", _BRICKEN),
    Concept("hebrew", "text in Hebrew script", _BRICKEN),
)
"""Features that Bricken et al. found in both of their models; descriptions are this package's."""


def read_concepts(path: str | Path) -> tuple[Concept, ...]:
    """Read concepts from JSON lines or CSV; further columns are ignored.

    Raises
    ------
    FormatError
        If the file is missing, of another kind, or a row lacks a name or a description; names the line.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "mine.csv")
    ...     _ = path.write_text("name,description\\nwaltz,music in three-four time\\n")
    ...     read_concepts(path)
    (Concept(name='waltz', description='music in three-four time', source=''),)
    """
    path = as_path(path)
    readers = {".jsonl": _json_rows, ".csv": _csv_rows}
    if path.suffix not in readers:
        raise FormatError(f"{path}: expected a file of concepts that ends in .jsonl or .csv")
    if not path.is_file():
        raise FormatError(f"{path}: no such file of concepts")
    check_openable(path)
    if path.stat().st_size > LARGEST:
        raise FormatError(f"{path}: {path.stat().st_size:,} bytes; expected at most {LARGEST:,}")
    try:
        text = path.read_bytes().decode("utf-8-sig")  # spreadsheets write a mark of the byte order
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: expected UTF-8 text: {error}") from None
    concepts = tuple(_concept(row) for row in readers[path.suffix](text, path))
    check_concepts(concepts, str(path))
    return concepts


def published_concepts(published: PublishedLabels) -> tuple[Concept, ...]:
    """Take published explanations as concepts, named by their features.

    Examples
    --------
    >>> from universality.labels.published import PublishedLabel
    >>> published_concepts(PublishedLabels((PublishedLabel("gpt2-small", "6", "res-jb", 204, "time-related phrases"),)))
    (Concept(name='gpt2-small/6/res-jb/204', description='time-related phrases', source=''),)
    """
    n_named: Counter[str] = Counter()
    concepts = []
    for label in published.labels:
        name = "/".join(filter(None, (label.model, label.site, label.sae, str(label.feature))))
        n_named[name] += 1
        name = f"{name} ({n_named[name]})" if n_named[name] > 1 else name  # several explanations of one feature
        concepts.append(Concept(name, label.explanation, label.source))
    return tuple(concepts)


def check_concepts(concepts: tuple[Concept, ...], where: str) -> None:
    """Refuse an empty list, and a name that two concepts have.

    Raises
    ------
    FormatError
    """
    names = [concept.name for concept in concepts]
    if not names:
        raise FormatError(f"{where}: expected at least one concept, found none")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FormatError(f"{where}: two concepts are named {twice!r}; give each a name of its own")


def _concept(row: Settings) -> Concept:
    values = [whole_characters(row.text(key, "").strip()) for key in _KEYS]
    for key, value in zip(_KEYS, values, strict=True):
        if not value and key != "source":
            raise FormatError(f"{row.where}: expected a {key}, found none")
        if len(value) > _LONGEST:
            raise FormatError(f"{row.where}: a {key} of {len(value):,} characters; expected at most {_LONGEST:,}")
    return Concept(*values)


def _json_rows(text: str, path: Path) -> Iterator[Settings]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}: line {number}"
            try:
                value = json.loads(line, parse_constant=str)
            except (ValueError, RecursionError) as error:
                raise FormatError(f"{where}: cannot be read as JSON: {error}") from None
            if not isinstance(value, dict):
                raise FormatError(f"{where}: expected a JSON object, found {type(value).__name__}")
            yield Settings(value, where)


def _csv_rows(text: str, path: Path) -> Iterator[Settings]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if missing := sorted({"name", "description"} - set(reader.fieldnames or ())):
            raise FormatError(f"{path}: expected the columns name and description, it lacks {', '.join(missing)}")
        for row in reader:
            values: dict[str, Any] = {key: value for key, value in row.items() if isinstance(key, str)}
            yield Settings(values, f"{path}: line {reader.line_num}")
    except csv.Error as error:
        raise FormatError(f"{path}: line {reader.reader.line_num}: cannot be read as CSV: {error}") from None

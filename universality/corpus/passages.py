"""Passages of text from the shipped starter corpus, from a user's files, or from files of records.

Terms: a *passage* is one piece of text with a label; the corpus calls it a *document* from then on.
Its ``kind`` is a concept label that is true of all of it, its ``group`` the work it was cut from.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from universality.corpus.documents import MAX_KINDS, name_fault
from universality.corpus.folders import PassedOver, files_below, shown
from universality.corpus.records import Record, absent, format_ending, format_of, has_text, read_records, read_text
from universality.errors import CorpusError
from universality.files import as_path

STARTER = Path(__file__).parent / "starter" / "starter.jsonl.xz"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Passage:
    """One document: its text and the labels that statistics stratify and resample by."""

    id: str
    """Its name, which decides its split."""
    kind: str
    """Concept label."""
    group: str
    """The work that it was cut from."""
    text: str
    """All of it."""


@dataclass(frozen=True)
class Reading:
    """What a source holds."""

    passages: list[Passage]
    """In a fixed order."""
    notes: tuple[str, ...]
    """What was passed over, a sentence each."""


@dataclass(frozen=True)
class _Found:
    """A passage, the file and line that it stands in, and whether it names itself there."""

    passage: Passage
    where: str
    named: bool = False


@dataclass
class _Notes:
    """What is passed over while a source is read."""

    folders: list[tuple[Path, PassedOver]] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)
    without_text: Counter[str] = field(default_factory=Counter)

    def all(self) -> tuple[str, ...]:
        below = (note for folder, passed_over in self.folders for note in passed_over.notes(folder))
        plain = (f"{name}: no records with a 'text' in it, so it is read as plain text" for name in self.plain)
        empty = (f"{source}: passages without text are left out: {n:,}" for source, n in self.without_text.items())
        return (*below, *plain, *empty)


def read_passages(source: str | Path | Iterable[str | Path], max_documents: int | None = None) -> list[Passage]:
    """All passages of ``source``, in a fixed order.

    Parameters
    ----------
    source
        ``"starter"`` for the corpus that ships with the package; a file of records with a ``text`` and optionally
        ``id``, ``kind`` and ``group``: JSON lines (``.jsonl``, ``.ndjson``), a JSON array (``.json``), ``.csv``,
        ``.tsv``, ``.parquet``, all but the last also with ``.gz``, ``.xz`` or ``.bz2`` behind; a text file (one
        passage, kind ``text``); a folder (each text below it is a passage, its kind the name of the first folder on
        the way to it); or several of these.
    max_documents
        Stop reading after so many.

    Raises
    ------
    CorpusError
        Where a file is missing, is not UTF-8, is empty, a record lacks ``text`` or has a name that no feature store
        can hold, or two passages have one id.
    """
    return read_source(source, max_documents).passages


def read_source(source: str | Path | Iterable[str | Path], max_documents: int | None = None) -> Reading:
    """As `read_passages`, with what was passed over, which is also logged."""
    if max_documents is not None and max_documents < 1:
        raise CorpusError(f"max_documents: expected at least 1, found {max_documents}")
    notes = _Notes()
    parts = [source] if isinstance(source, str | Path) else list(source)
    passages: list[Passage] = []
    met: dict[str, tuple[str, str]] = {}
    kinds: set[str] = set()
    every = ((str(part), found) for part in parts for found in _with_text(str(part), _read(part, notes), notes))
    for part, found in islice(every, max_documents):
        _check_names(found, kinds)
        if found.passage.id in met:
            raise _twice(found, part, *met[found.passage.id])
        met[found.passage.id] = part, found.where
        passages.append(found.passage)
    if not passages:
        raise CorpusError(f"{source}: expected text, found none; give a text file, a folder of them or JSON lines")
    for note in notes.all():
        _log.warning(note)
    return Reading(passages, notes.all())


def _with_text(source: str, every: Iterator[_Found], notes: _Notes) -> Iterator[_Found]:
    for found in every:
        if found.passage.text:
            yield found
        else:
            notes.without_text[shown(source)] += 1


def _check_names(found: _Found, kinds: set[str]) -> None:
    """Refuse what a feature store could not hold, hours before one is written."""
    for name in ("id", "kind", "group"):
        value = getattr(found.passage, name)
        fault = name_fault(value)
        if fault:
            raise CorpusError(f"{found.where}: {name} {value[:40]!r}{'…' if len(value) > 40 else ''} {fault}")
    kinds.add(found.passage.kind)
    if len(kinds) > MAX_KINDS:
        raise CorpusError(
            f"{found.where}: more than {MAX_KINDS:,} kinds, which is all that a feature store can number; is kind a "
            "label that many passages share?"
        )
    try:
        found.passage.text.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{found.where}: text holds half a character, U+{ord(error.object[error.start]):04X}, at character "
            f"{error.start}: a lone surrogate, as cut or wrongly converted UTF-16 leaves it; mend or remove it"
        ) from None


def _twice(found: _Found, source: str, other_source: str, other: str) -> CorpusError:
    where, name = f"{found.where} and {other}", found.passage.id
    if found.named:
        return CorpusError(
            f"{where}: two passages have the id {name!r}; ids must differ, the splits depend on them. Change one"
        )
    return CorpusError(
        f"{shown(source)} and {shown(other_source)}: both hold a passage with the id {name!r}; ids must "
        "differ, the splits depend on them. Rename one, or give the folder above both as one source: "
        "ids are then the paths below it"
    )


def _read(source: str | Path, notes: _Notes) -> Iterator[_Found]:
    """All passages of one source, lazily."""
    path = STARTER if str(source) == "starter" else as_path(source)
    _check_path(path)
    if path.is_dir():
        yield from _read_folder(path, notes)
    elif not path.exists():
        raise CorpusError(f"{shown(path)}: no such file or folder; expected text, JSON lines or 'starter'")
    elif not path.is_file():
        raise CorpusError(f"{shown(path)}: neither a file nor a folder; save what it gives as a file first")
    else:
        _check_once(path, notes)
        yield from _read_file(path, path.name, "text")


def _check_once(file: Path, notes: _Notes) -> None:
    """Refuse a file that two sources hold: its text would count twice, and could stand on both sides of a split."""
    if file.resolve() in notes.files:
        raise CorpusError(f"{shown(file)}: another source holds this file too; name it, or the folder above it, once")
    notes.files.add(file.resolve())


def _read_folder(folder: Path, notes: _Notes) -> Iterator[_Found]:
    passed_over = PassedOver()
    notes.folders.append((folder, passed_over))
    for file in files_below(folder, passed_over):
        _check_path(file)
        _check_once(file, notes)
        inner = file.relative_to(folder)
        kind = inner.parts[0] if len(inner.parts) > 1 else "text"
        # Texts about data, such as package.json in a folder of code, are read as the text that they are.
        if format_ending(file) in (".json", ".csv", ".tsv") and not has_text(file):
            notes.plain.append(shown(file))
            yield _read_text(file, inner.as_posix(), kind)
        else:
            yield from _read_file(file, inner.as_posix(), kind)


def _check_path(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise CorpusError(f"{shown(path)}: the name of this file or folder is not UTF-8; rename it") from None


def _read_file(path: Path, name: str, kind: str) -> Iterator[_Found]:
    if format_of(path) is None:
        yield _read_text(path, name, kind)
    else:
        for record in read_records(path):
            yield _passage(path, name, kind, record)


def _read_text(path: Path, name: str, kind: str) -> _Found:
    return _Found(Passage(id=name, kind=kind, group=name, text=read_text(path)), shown(path))


def _passage(path: Path, name: str, kind: str, record: Record) -> _Found:
    """A record as a passage, named by its file and number unless it names itself."""
    where, values = f"{shown(path)}, {record.place}", record.values
    labels = {label: _label(where, label, values.get(label)) for label in ("id", "kind", "group")}
    own = labels["id"] or f"{name}:{record.number}"
    return _Found(
        Passage(own, labels["kind"] or kind, labels["group"] or own, _text(where, values)), where, bool(labels["id"])
    )


def _text(where: str, values: Mapping[str, Any]) -> str:
    text = values.get("text", "")
    if "text" not in values or not (isinstance(text, str) or absent(text)):
        fields = ", ".join(map(repr, values))[:80]
        found = f"{type(text).__name__} as text" if "text" in values else f"the fields {fields}"
        raise CorpusError(f"{where}: expected an object with a string 'text', found {found}")
    return text if isinstance(text, str) else ""


def _label(where: str, name: str, value: Any) -> str | None:
    if absent(value):
        return None
    if isinstance(value, dict | list | bytes):
        raise CorpusError(f"{where}: {name}: expected text or a number, found {type(value).__name__}; write it as text")
    return str(value)

"""Passages of text from the shipped starter corpus, from text files or from files of records.

A *passage* is one piece of text with labels; later stages call it a *document*. Its ``kind`` is a text category that
holds for the whole passage, its ``group`` the work that it was cut from.
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
    """One document: its text, and the labels by which statistics stratify and resample."""

    id: str
    """Unique name, which determines the split."""
    kind: str
    """Text category."""
    group: str
    """Work that the passage was cut from."""
    text: str
    """Full text."""


@dataclass(frozen=True)
class Reading:
    """Passages of a source, and notes about what was skipped."""

    passages: list[Passage]
    """Passages in a fixed order."""
    notes: tuple[str, ...]
    """One sentence for each thing that was skipped."""


@dataclass(frozen=True)
class _Located:
    """A passage, its file and line, and whether it has an id of its own."""

    passage: Passage
    where: str
    named: bool = False


@dataclass
class _Notes:
    """Record of what is skipped while a source is read."""

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
    """Read all passages of a source in a fixed order.

    Parameters
    ----------
    source
        ``"starter"`` for the corpus that ships with the package; a file of records with a ``text`` and optionally
        ``id``, ``kind`` and ``group``: JSON lines (``.jsonl``, ``.ndjson``), a JSON array (``.json``), ``.csv``,
        ``.tsv`` or ``.parquet``, all but the last also compressed (``.gz``, ``.xz``, ``.bz2``); a text file (one
        passage of kind ``text``); a folder (each text below it is a passage whose kind is the name of the first
        subfolder on its path); or a sequence of these.
    max_documents
        Stop reading after this number of passages.

    Raises
    ------
    CorpusError
        If a file is missing, empty or not UTF-8, a record lacks ``text`` or has a name that no feature store can
        hold, or two passages have the same id.
    """
    return read_source(source, max_documents).passages


def read_source(source: str | Path | Iterable[str | Path], max_documents: int | None = None) -> Reading:
    """Read passages as `read_passages` does, with notes on what was skipped; the notes are also logged."""
    if max_documents is not None and max_documents < 1:
        raise CorpusError(f"max_documents: expected at least 1, found {max_documents}")
    notes = _Notes()
    parts = [source] if isinstance(source, str | Path) else list(source)
    passages: list[Passage] = []
    seen: dict[str, tuple[str, str]] = {}
    kinds: set[str] = set()
    every = ((str(part), located) for part in parts for located in _with_text(str(part), _read(part, notes), notes))
    for part, located in islice(every, max_documents):  # lazy: nothing after the last passage is opened
        _check_names(located, kinds)
        if located.passage.id in seen:
            raise _duplicate(located, part, *seen[located.passage.id])
        seen[located.passage.id] = part, located.where
        passages.append(located.passage)
    if not passages:
        raise CorpusError(f"{source}: expected text, found none; give a text file, a folder of them or JSON lines")
    for note in notes.all():
        _log.warning(note)
    return Reading(passages, notes.all())


def _with_text(source: str, every: Iterator[_Located], notes: _Notes) -> Iterator[_Located]:
    for located in every:
        if located.passage.text:
            yield located
        else:
            notes.without_text[shown(source)] += 1


def _check_names(located: _Located, kinds: set[str]) -> None:
    """Refuse names that a feature store could not hold, hours before one is written."""
    for name in ("id", "kind", "group"):
        value = getattr(located.passage, name)
        fault = name_fault(value)
        if fault:
            raise CorpusError(f"{located.where}: {name} {value[:40]!r}{'…' if len(value) > 40 else ''} {fault}")
    kinds.add(located.passage.kind)
    if len(kinds) > MAX_KINDS:
        raise CorpusError(
            f"{located.where}: more than {MAX_KINDS:,} kinds, which is all that a feature store can number; is kind a "
            "label that many passages share?"
        )
    try:
        located.passage.text.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{located.where}: text holds half a character, U+{ord(error.object[error.start]):04X}, at character "
            f"{error.start}: a lone surrogate, left by truncated or wrongly converted UTF-16; repair or remove it"
        ) from None


def _duplicate(located: _Located, source: str, other_source: str, other: str) -> CorpusError:
    where, name = f"{located.where} and {other}", located.passage.id
    if located.named:
        return CorpusError(
            f"{where}: two passages have the id {name!r}; ids must differ, the splits depend on them. Change one"
        )
    return CorpusError(
        f"{shown(source)} and {shown(other_source)}: both hold a passage with the id {name!r}; ids must "
        "differ, the splits depend on them. Rename one, or give the folder above both as one source: "
        "ids are then the paths below it"
    )


def _read(source: str | Path, notes: _Notes) -> Iterator[_Located]:
    """Yield all passages of one source."""
    path = STARTER if str(source) == "starter" else as_path(source)
    _check_path(path)
    if path.is_dir():
        yield from _read_folder(path, notes)
    elif not path.exists():
        raise CorpusError(f"{shown(path)}: no such file or folder; expected text, JSON lines or 'starter'")
    elif not path.is_file():
        raise CorpusError(f"{shown(path)}: neither a file nor a folder; save its contents as a file first")
    else:
        _check_once(path, notes)
        yield from _read_file(path, path.name, "text")


def _check_once(file: Path, notes: _Notes) -> None:
    """Refuse a file that two sources hold: its text would count twice, perhaps on both sides of a split."""
    if file.resolve() in notes.files:
        raise CorpusError(f"{shown(file)}: another source holds this file too; name it, or the folder above it, once")
    notes.files.add(file.resolve())


def _read_folder(folder: Path, notes: _Notes) -> Iterator[_Located]:
    passed_over = PassedOver()
    notes.folders.append((folder, passed_over))
    for file in files_below(folder, passed_over):
        _check_path(file)
        _check_once(file, notes)
        inner = file.relative_to(folder)
        kind = inner.parts[0] if len(inner.parts) > 1 else "text"
        # Data files without a text field, such as package.json in a folder of code, are read as plain text.
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


def _read_file(path: Path, name: str, kind: str) -> Iterator[_Located]:
    if format_of(path) is None:
        yield _read_text(path, name, kind)
    else:
        for record in read_records(path):
            yield _passage(path, name, kind, record)


def _read_text(path: Path, name: str, kind: str) -> _Located:
    return _Located(Passage(id=name, kind=kind, group=name, text=read_text(path)), shown(path))


def _passage(path: Path, name: str, kind: str, record: Record) -> _Located:
    """Turn a record into a passage, whose id is its file and number unless it has an id of its own."""
    where, values = f"{shown(path)}, {record.place}", record.values
    labels = {label: _label(where, label, values.get(label)) for label in ("id", "kind", "group")}
    id_ = labels["id"] or f"{name}:{record.number}"
    passage = Passage(id_, labels["kind"] or kind, labels["group"] or id_, _text(where, values))
    return _Located(passage, where, bool(labels["id"]))


def _text(where: str, values: Mapping[str, Any]) -> str:
    text = values.get("text", "")
    if "text" not in values or not (isinstance(text, str) or absent(text)):
        fields = ", ".join(map(repr, values))[:80]
        given = f"{type(text).__name__} as text" if "text" in values else f"the fields {fields}"
        raise CorpusError(f"{where}: expected an object with a string 'text', found {given}")
    return text if isinstance(text, str) else ""


def _label(where: str, name: str, value: Any) -> str | None:
    if absent(value):
        return None
    if isinstance(value, dict | list | bytes):
        raise CorpusError(f"{where}: {name}: expected text or a number, found {type(value).__name__}; write it as text")
    return str(value)

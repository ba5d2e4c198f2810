"""Passages of text from the shipped starter corpus, from a user's files, or from JSON lines.

Terms: a *passage* is one piece of text with a label; the corpus calls it a *document* from then on.
Its ``kind`` is a concept label that is true of all of it, its ``group`` the work it was cut from.
"""

import gzip
import json
import lzma
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from universality.errors import CorpusError
from universality.files import as_path

STARTER = Path(__file__).parent / "starter" / "starter.jsonl.xz"
_OPENERS: dict[str, Callable[..., Any]] = {".xz": lzma.open, ".gz": gzip.open}


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


def read_passages(source: str | Path | Iterable[str | Path]) -> list[Passage]:
    """All passages of ``source``, in a fixed order.

    Parameters
    ----------
    source
        ``"starter"`` for the corpus that ships with the package; a ``.jsonl`` file (``.jsonl.xz`` and
        ``.jsonl.gz`` too) with a ``text`` field a line and optionally ``id``, ``kind`` and ``group``; a text
        file (one passage, kind ``text``); a folder (each file below it is a passage, its kind the name of the
        first folder on the way to it); or several of these.

    Raises
    ------
    CorpusError
        Where a file is missing, is not UTF-8, is empty, a line of JSON lacks ``text``, or two passages have one id.
    """
    if not isinstance(source, str | Path):
        passages = _joined([(str(part), read_passages(part)) for part in source])
    elif str(source) == "starter":
        passages = list(_read_jsonl(STARTER))
    else:
        passages = list(_read_path(as_path(source)))
    passages = [passage for passage in passages if passage.text]
    if not passages:
        raise CorpusError(f"{source}: expected text, found none; give a text file, a folder of them or JSON lines")
    return _with_unique_ids(passages)


def _joined(parts: list[tuple[str, list[Passage]]]) -> list[Passage]:
    """The passages of several sources, which name them apart."""
    named: dict[str, str] = {}
    for source, passages in parts:
        for passage in passages:
            if passage.id in named:
                raise CorpusError(
                    f"{source} and {named[passage.id]}: both hold a passage with the id {passage.id!r}; ids must "
                    "differ, the splits depend on them. Rename one, or give the folder above both as one source: "
                    "ids are then the paths below it"
                )
        named |= dict.fromkeys((passage.id for passage in passages), source)
    return [passage for _, passages in parts for passage in passages]


def _with_unique_ids(passages: list[Passage]) -> list[Passage]:
    seen: set[str] = set()
    for passage in passages:
        if passage.id in seen:
            raise CorpusError(f"two passages have the id {passage.id!r}; ids must differ, the splits depend on them")
        seen.add(passage.id)
    return passages


def _read_path(path: Path) -> Iterator[Passage]:
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")):
            inner = file.relative_to(path)
            kind = inner.parts[0] if len(inner.parts) > 1 else "text"
            yield from _read_jsonl(file) if _is_jsonl(file) else _read_text(file, inner.as_posix(), kind)
    elif not path.exists():
        raise CorpusError(f"{path}: no such file or folder; expected text, JSON lines or 'starter'")
    elif _is_jsonl(path):
        yield from _read_jsonl(path)
    else:
        yield from _read_text(path, path.name, "text")


def _is_jsonl(path: Path) -> bool:
    return ".jsonl" in path.suffixes[-2:]


def _read_text(path: Path, name: str, kind: str) -> Iterator[Passage]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: expected UTF-8 text, found byte {error.object[error.start]:#04x} at offset {error.start}; "
            "convert the file, or leave it out"
        ) from None
    yield Passage(id=name, kind=kind, group=name, text=text)


def _read_jsonl(path: Path) -> Iterator[Passage]:
    opener: Callable[..., Any] = _OPENERS.get(path.suffix, open)
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            yield from _parse_lines(path, lines)
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: cannot be read as JSON lines in UTF-8: {error}") from error


def _parse_lines(path: Path, lines: IO[str]) -> Iterator[Passage]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise CorpusError(f"{path}, line {number}: not JSON: {error}") from None
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            raise CorpusError(f"{path}, line {number}: expected an object with a string 'text', found {line[:60]!r}")
        name = str(record.get("id", f"{path.name}:{number}"))
        yield Passage(name, str(record.get("kind", "text")), str(record.get("group", name)), record["text"])

"""Passages of text from the shipped starter corpus, from text files or from files of records."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from universality.corpus.cutting import cut_passages, decide_cutting
from universality.corpus.folders import PassedOver, files_below, shown
from universality.corpus.hub_texts import TextBudget, fetch_texts, hub_text
from universality.corpus.layout import DEFAULT_LAYOUT, TextLayout
from universality.corpus.passage import Located, Passage, checked_passages, passage_of_record
from universality.corpus.records import format_ending, format_of, has_text, read_pieces, read_records, read_text
from universality.corpus.token_budget import within_budget
from universality.corpus.tokenizer import Tokenizer
from universality.errors import CorpusError
from universality.files import as_path

STARTER = Path(__file__).parent / "starter" / "starter.jsonl.xz"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """Passages of a source, and notes about what was skipped."""

    passages: list[Passage]
    """Passages in a fixed order."""
    notes: tuple[str, ...]
    """One sentence for each thing that was skipped."""


@dataclass(frozen=True)
class _File:
    """A file to read: the source that holds it, and the name and kind that its passages get."""

    source: str
    path: Path
    name: str
    kind: str = "text"
    alone: bool = False
    """Whether this is the only source, in which marks between documents are looked for."""


@dataclass
class _CutFile:
    """A text file that is cut, and the number of works read from it so far."""

    name: str
    mark: str
    asked_for: bool
    """Whether the caller named the mark."""
    works: int = 0
    whole: bool = False
    """Whether the file was read to its end."""

    @property
    def lacks_mark(self) -> bool:
        """Whether the file is a single work although the caller named a mark between works."""
        return self.asked_for and self.whole and self.works < 2

    def note(self) -> str:
        """Return one sentence on where the file was cut."""
        if self.lacks_mark:
            return f"{self.name}: {self.mark or 'no heading'} is not between any two works, so the file is one work"
        if self.mark:
            return f"{self.name}: cut at {self.mark} into {self.works:,} works"
        return f"{self.name}: cut into passages of one work, which are split one by one"


@dataclass
class _Notes:
    """Record of what is skipped, and where texts are cut, while a source is read."""

    folders: list[tuple[Path, PassedOver]] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)
    without_text: Counter[str] = field(default_factory=Counter)
    cut: list[_CutFile] = field(default_factory=list)

    def all(self) -> tuple[str, ...]:
        below = (note for folder, passed_over in self.folders for note in passed_over.notes(folder))
        plain = (f"{name}: no records with a 'text' in it, so it is read as plain text" for name in self.plain)
        empty = (f"{source}: passages without text are left out: {n:,}" for source, n in self.without_text.items())
        return (*below, *plain, *empty, *(file.note() for file in self.cut))


def read_passages(
    source: str | Path | Iterable[str | Path], max_documents: int | None = None, layout: TextLayout = DEFAULT_LAYOUT
) -> list[Passage]:
    """Read all passages of a source in a fixed order.

    Parameters
    ----------
    source
        ``"starter"`` for the corpus that ships with the package; a file of records with a ``text`` and optionally
        ``id``, ``kind`` and ``group``: JSON lines (``.jsonl``, ``.ndjson``), a JSON array (``.json``), ``.csv``,
        ``.tsv`` or ``.parquet``, all but the last also compressed (``.gz``, ``.xz``, ``.bz2``); a text file (cut into
        passages if it is long and the only source, otherwise one passage of kind ``text``); a folder (each text below
        it is a passage whose kind is the name of the first subfolder on its path); a data set of the hub
        (`universality.corpus.hub_texts`), read up to the budget; or a sequence of these.
    max_documents
        Stop reading after this number of passages.
    layout
        Names of columns, and where a text file is cut.

    Raises
    ------
    CorpusError
        If a file is missing, empty or not UTF-8, a record lacks ``text`` or has a name that no feature store can
        hold, two passages have the same id, or no text file has the mark at which it is to be cut.
    """
    return read_source(source, max_documents, layout).passages


def read_source(
    source: str | Path | Iterable[str | Path],
    max_documents: int | None = None,
    layout: TextLayout = DEFAULT_LAYOUT,
    *,
    max_tokens: int | None = None,
    tokenizers: Sequence[Tokenizer] = (),
) -> Reading:
    """Read passages as `read_passages` does, with notes on what was skipped; the notes are also logged.

    Parameters
    ----------
    max_tokens, tokenizers
        Budget of tokens, and who counts them; see `universality.corpus.token_budget.within_budget`.
    """
    if max_documents is not None and max_documents < 1:
        raise CorpusError(f"max_documents: expected at least 1, found {max_documents}")
    notes = _Notes()
    parts = [source] if isinstance(source, str | Path) else list(source)
    budget = TextBudget(max_documents, max_tokens, tokenizers)
    every = (located for part in parts for located in _read(str(part), len(parts) == 1, layout, budget, notes))
    # Lazy: nothing after the last passage is opened.
    passages = list(
        within_budget(islice(checked_passages(every, notes.without_text), max_documents), max_tokens, tokenizers)
    )
    if not passages:
        raise CorpusError(f"{source}: expected text, found none; give a text file, a folder of them or JSON lines")
    if notes.cut and all(file.lacks_mark for file in notes.cut):
        raise CorpusError(f"{notes.cut[0].note()}; give the right mark, or cut: passages for a file that is one work")
    for note in notes.all():
        _log.warning(note)
    return Reading(passages, notes.all())


def _read(source: str, alone: bool, layout: TextLayout, budget: TextBudget, notes: _Notes) -> Iterator[Located]:
    """Yield all passages of one source."""
    if text := hub_text(source):  # the file that is read has the names of fields, whatever the columns were
        yield from _read_file(_File(source, fetch_texts(text, layout.columns, budget), source), DEFAULT_LAYOUT, notes)
        return
    path = STARTER if source == "starter" else as_path(source)
    _check_path(path)
    if path.is_dir():
        yield from _read_folder(source, path, layout, notes)
    elif not path.exists():
        raise CorpusError(f"{shown(path)}: no such file or folder; expected text, JSON lines or 'starter'")
    elif not path.is_file():
        raise CorpusError(f"{shown(path)}: neither a file nor a folder; save its contents as a file first")
    else:
        _check_once(path, notes)
        yield from _read_file(_File(source, path, path.name, alone=alone), layout, notes)


def _check_once(file: Path, notes: _Notes) -> None:
    """Refuse a file that two sources hold: its text would count twice, perhaps on both sides of a split."""
    if file.resolve() in notes.files:
        raise CorpusError(f"{shown(file)}: another source holds this file too; name it, or the folder above it, once")
    notes.files.add(file.resolve())


def _read_folder(source: str, folder: Path, layout: TextLayout, notes: _Notes) -> Iterator[Located]:
    passed_over = PassedOver()
    notes.folders.append((folder, passed_over))
    for file in files_below(folder, passed_over):
        _check_path(file)
        _check_once(file, notes)
        inner = file.relative_to(folder)
        read = _File(source, file, inner.as_posix(), inner.parts[0] if len(inner.parts) > 1 else "text")
        # Data files without a text field, such as package.json in a folder of code, are read as plain text.
        if format_ending(file) in (".json", ".csv", ".tsv") and not has_text(file, layout.columns):
            notes.plain.append(shown(file))
            yield from _read_text(read, layout, notes)
        else:
            yield from _read_file(read, layout, notes)


def _check_path(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise CorpusError(f"{shown(path)}: the name of this file or folder is not UTF-8; rename it") from None


def _read_file(file: _File, layout: TextLayout, notes: _Notes) -> Iterator[Located]:
    if format_of(file.path) is None:
        yield from _read_text(file, layout, notes)
        return
    for record in read_records(file.path, layout.columns):
        yield passage_of_record(
            record.values,
            source=file.source,
            where=f"{shown(file.path)}, {record.place}",
            default_id=f"{file.name}:{record.number}",
            default_kind=file.kind,
        )


def _read_text(file: _File, layout: TextLayout, notes: _Notes) -> Iterator[Located]:
    """Yield the passages of a text file: itself, or those that it is cut into."""
    cutting = None
    if layout.how != "auto" or file.alone:
        markdown = format_ending(file.path) in (".md", ".markdown")
        cutting = decide_cutting(layout, read_pieces(file.path), markdown)
    if cutting is None:
        passage = Passage(id=file.name, kind=file.kind, group=file.name, text=read_text(file.path))
        yield Located(passage, file.source, shown(file.path))
        return
    cut = _CutFile(shown(file.path), cutting.mark, layout.how not in ("auto", "passages"))
    notes.cut.append(cut)
    for part in cut_passages(read_pieces(file.path), cutting):
        cut.works = part.work
        group = f"{file.name}:{part.work}" if cutting.mark else file.name
        passage = Passage(f"{file.name}:{part.work}.{part.number}", file.kind, group, part.text)
        yield Located(passage, file.source, f"{cut.name}, work {part.work}")
    cut.whole = True

"""One piece of text with its labels, and the checks that every passage of a corpus passes.

A *passage* is one piece of text with labels; later stages call it a *document*. Its ``kind`` is a text category that
holds for the whole passage, its ``group`` the work that it was cut from.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from universality.corpus.documents import MAX_KINDS, name_fault
from universality.corpus.folders import shown
from universality.corpus.records import absent
from universality.errors import CorpusError


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
class Located:
    """A passage, the source and place that it was read from, and whether it has an id of its own."""

    passage: Passage
    source: str
    """File or folder that the caller named."""
    where: str
    """Place for messages: a file and a line, or an item of a list."""
    named: bool = False
    """Whether the id was given, and not made from the place."""


def passage_of_record(
    values: Mapping[str, Any], *, source: str, where: str, default_id: str, default_kind: str
) -> Located:
    """Turn a record into a passage; absent labels take their defaults, an absent group the passage's id.

    Raises
    ------
    CorpusError
        If the text is missing or not a string, or a label is neither text nor a number.
    """
    labels = {label: _label(where, label, values.get(label)) for label in ("id", "kind", "group")}
    id_ = labels["id"] or default_id
    passage = Passage(id_, labels["kind"] or default_kind, labels["group"] or id_, _text(where, values))
    return Located(passage, source, where, bool(labels["id"]))


def checked_passages(every: Iterable[Located], without_text: Counter[str]) -> Iterator[Passage]:
    """Yield the passages that hold text, lazily, and refuse those that no feature store could hold.

    Parameters
    ----------
    without_text
        Source → number of passages without text, which are left out; counted here.

    Raises
    ------
    CorpusError
        If a name is too long or not storable, there are too many kinds, a text holds a lone surrogate, or two passages
        have the same id.
    """
    seen: dict[str, tuple[str, str]] = {}
    kinds: set[str] = set()
    for located in every:
        passage = located.passage
        if not passage.text:
            without_text[shown(located.source)] += 1
            continue
        _check_names(located, kinds)
        if passage.id in seen:
            raise _duplicate(located, *seen[passage.id])
        seen[passage.id] = located.source, located.where
        yield passage


def _check_names(located: Located, kinds: set[str]) -> None:
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


def _duplicate(located: Located, other_source: str, other: str) -> CorpusError:
    where, name = f"{located.where} and {other}", located.passage.id
    if located.named:
        return CorpusError(
            f"{where}: two passages have the id {name!r}; ids must differ, the splits depend on them. Change one"
        )
    return CorpusError(
        f"{shown(located.source)} and {shown(other_source)}: both hold a passage with the id {name!r}; ids must "
        "differ, the splits depend on them. Rename one, or give the folder above both as one source: "
        "ids are then the paths below it"
    )


def _text(where: str, values: Mapping[str, Any]) -> str:
    text = values.get("text", "")
    if "text" not in values or not (isinstance(text, str) or absent(text)):
        fields = ", ".join(map(repr, values))[:80]
        given = f"{type(text).__name__} as text" if "text" in values else f"the fields {fields}"
        advice = "" if "text" in values else "; columns can name the one that holds the text"
        raise CorpusError(f"{where}: expected an object with a string 'text', found {given}{advice}")
    return text if isinstance(text, str) else ""


def _label(where: str, name: str, value: Any) -> str | None:
    if absent(value):
        return None
    if isinstance(value, dict | list | bytes):
        raise CorpusError(f"{where}: {name}: expected text or a number, found {type(value).__name__}; write it as text")
    return str(value)

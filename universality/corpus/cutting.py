"""Cutting of one long text into works, and of works into passages.

A *work* is what may stand on one side of a split only: a story, an article, a book. A long text is read in pieces and
cut as it is read, so its length does not matter.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from universality.corpus.layout import TextLayout
from universality.corpus.splits import MIN_GROUPS

LONGEST = 4000
"""Most characters of a passage: about 1,000 tokens of English."""
END_OF_TEXT = "<|endoftext|>"
"""Separator of documents in text files for language models (GPT-2's token; TinyStories is distributed so)."""
_EXAMINED = 1 << 22  # characters at the beginning that decide how a text is cut
_BREAKS = ("\n\n", "\n\r\n", "\n", ". ", "。", " ")  # best places to end a passage, best first
_FENCE = re.compile(r" {0,3}(```|~~~)")


@dataclass(frozen=True)
class Cutting:
    """Decision where a text is cut.

    Attributes
    ----------
    mark
        Description of the mark between works, for messages; "" where the text is one work.
    separator
        Text between works, if there is one.
    heading
        Pattern of a line that begins a work, if there is one.
    blank_lines
        Whether blank lines separate works.
    skips_code
        Whether lines in fenced blocks of code are no headings, as # begins a comment in many languages.
    """

    mark: str = ""
    separator: str | None = None
    heading: re.Pattern[str] | None = None
    blank_lines: bool = False
    skips_code: bool = False


_TITLES = Cutting("WikiText titles", heading=re.compile(r" = [^=\n].* = \r?\n"))
_MARKDOWN = Cutting("Markdown headings #", heading=re.compile(r"# \S"), skips_code=True)
_HEADINGS = (
    _TITLES,
    _MARKDOWN,
    Cutting("Markdown headings ##", heading=re.compile(r"## \S"), skips_code=True),
    Cutting("chapters", heading=re.compile(r"[ \t]*(?i:chapter|book|part|act)[ \t]+([IVXLCDM]+|\d+)\b")),
)


@dataclass(frozen=True)
class WorkPassage:
    """A passage and the numbers of its work in the text and of itself in the work, both from 1."""

    work: int
    number: int
    text: str


def decide_cutting(layout: TextLayout, pieces: Iterable[str], markdown: bool = False) -> Cutting | None:
    """Decide where a text is cut, by the layout and, where that leaves it open, by the text's first 4 M characters.

    Parameters
    ----------
    pieces
        Lines of the text; a long line may come in several pieces.
    markdown
        Whether the text is Markdown, in which a line that begins with # is a heading.

    Returns
    -------
    Cutting or None
        None if the text stays whole.
    """
    if layout.cut == "whole":
        return None
    if layout.separator:
        return Cutting(f"the separator {layout.separator!r}", separator=layout.separator)
    if layout.heading:
        return Cutting(f"the heading {layout.heading!r}", heading=re.compile(layout.heading))
    if layout.cut == "blank_lines":
        return Cutting("blank lines", blank_lines=True)
    if layout.cut == "headings":
        return _first_frequent(_beginning(pieces), _HEADINGS, 2) or Cutting()
    return _by_marks(_beginning(pieces), markdown) if layout.cut == "auto" else Cutting()


def _by_marks(lines: list[str], markdown: bool) -> Cutting | None:
    """Cut at marks that stand between documents; chapters and paragraphs may be parts of one work."""
    if any(END_OF_TEXT in line for line in lines):
        return Cutting(f"the separator {END_OF_TEXT!r}", separator=END_OF_TEXT)
    found = _first_frequent(lines, [_TITLES, _MARKDOWN] if markdown else [_TITLES], MIN_GROUPS)
    is_short = sum(map(len, lines)) <= LONGEST
    return found or (None if is_short else Cutting())


def _first_frequent(lines: list[str], cuttings: Iterable[Cutting], least: int) -> Cutting | None:
    """Return the first cutting by which at least this number of works begin."""
    return next((c for c in cuttings if sum(starts for starts, _ in _works(lines, c)) >= least), None)


def _beginning(pieces: Iterable[str]) -> list[str]:
    lines, length = [], 0
    for piece in pieces:
        lines.append(piece)
        length += len(piece)
        if length > _EXAMINED:
            break
    return lines


def cut_passages(pieces: Iterable[str], cutting: Cutting) -> Iterator[WorkPassage]:
    """Cut a text into works, and each work into passages of at most `LONGEST` characters.

    Nothing is lost but white space around passages; the first line of a passage keeps its indentation.

    Parameters
    ----------
    pieces
        Lines of the text; a long line may come in several pieces.

    Examples
    --------
    >>> text = ["# One\\n", "first\\n", "# Two\\n", "second\\n"]
    >>> [(p.work, p.text) for p in cut_passages(text, Cutting(heading=re.compile("# ")))]
    [(1, '# One\\nfirst'), (2, '# Two\\nsecond')]
    """
    work, number, rest = 1, 0, ""
    for starts, piece in _works(pieces, cutting):
        if starts:
            if rest.strip():
                yield WorkPassage(work, number + 1, _trimmed(rest))
                number += 1
            work, number, rest = work + (number > 0), 0, ""
        rest += piece
        while len(rest) > LONGEST:
            end = _end_of_passage(rest)
            if rest[:end].strip():
                yield WorkPassage(work, number + 1, _trimmed(rest[:end]))
                number += 1
            rest = rest[end:]
    if rest.strip():
        yield WorkPassage(work, number + 1, _trimmed(rest))


def _trimmed(text: str) -> str:
    return text.rstrip().lstrip("\r\n")  # the first line keeps its indentation


def _end_of_passage(text: str) -> int:
    """Return the length of the first passage: up to the last break in its second half, the best kind there is."""
    for mark in _BREAKS:
        place = text.rfind(mark, LONGEST // 2, LONGEST)
        if place >= 0:
            return place + len(mark)
    return LONGEST


def _works(pieces: Iterable[str], cutting: Cutting) -> Iterator[tuple[bool, str]]:
    """Yield each piece with whether a work begins with it."""
    if cutting.separator:
        return _at_separator(pieces, cutting.separator)
    if cutting.heading:
        return _at_headings(pieces, cutting.heading, cutting.skips_code)
    if cutting.blank_lines:
        return _at_blank_lines(pieces)
    return ((False, piece) for piece in pieces)


def _at_separator(pieces: Iterable[str], separator: str) -> Iterator[tuple[bool, str]]:
    starts, rest = False, ""
    for piece in pieces:
        *before, rest = (rest + piece).split(separator)
        for part in before:
            yield starts, part
            starts = True
        # The separator may continue in the next piece; what cannot be its beginning is passed on.
        certain = max(0, len(rest) - len(separator) + 1)
        yield starts, rest[:certain]
        starts, rest = False, rest[certain:]
    yield starts, rest


def _at_headings(pieces: Iterable[str], heading: re.Pattern[str], skips_code: bool) -> Iterator[tuple[bool, str]]:
    at_line_start, in_code = True, False
    for piece in pieces:
        if skips_code and at_line_start and _FENCE.match(piece):
            in_code = not in_code
        yield at_line_start and not in_code and heading.match(piece) is not None, piece
        at_line_start = piece.endswith("\n")


def _at_blank_lines(pieces: Iterable[str]) -> Iterator[tuple[bool, str]]:
    at_line_start, after_blank = True, False
    for piece in pieces:
        blank = not piece.strip() and (at_line_start or after_blank)
        yield after_blank and not blank, piece
        at_line_start, after_blank = piece.endswith("\n"), blank

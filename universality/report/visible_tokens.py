"""Token strings that can be shown: nothing invisible, nothing that reorders or breaks what stands around it.

A byte-level tokenizer may cut inside a character. Such bytes come as Python's ``surrogateescape`` writes them
(U+DC80 to U+DCFF): ``bytes.decode("utf-8", "surrogateescape")``; where the neighbours complete the character it is
put together again.
"""

import unicodedata
from codecs import getincrementaldecoder
from collections.abc import Sequence
from dataclasses import dataclass

_SYMBOLS = {"\n": "⏎", "\t": "⇥"}
_JOINERS = "\u200c\u200d"  # zero-width (non-)joiner: part of Persian and Indic words
_HIDDEN = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}


@dataclass(frozen=True)
class Piece:
    """A run of tokens.

    Parameters
    ----------
    text
        Ready to show.
    tokens
        Indices of its tokens.
    """

    text: str
    tokens: range


def visible(text: str, *, mark_spaces: bool = False, alone: bool = True) -> str:
    """The text with everything invisible written out.

    Newline and tab become ⏎ and ⇥, a byte that is no character ``\\xE2``, other controls, bidirectional controls,
    private and unassigned code points, lone surrogates and odd spaces ``U+202E``.

    Parameters
    ----------
    mark_spaces
        Write a space as ␣ and nothing as ``(empty)``.
    alone
        Put a combining mark at the start on a dotted circle; not where the text before it is shown.

    >>> visible("a\\n\\u202eb"), visible(" the", mark_spaces=True), visible("\\udce2")
    ('a⏎U+202Eb', '␣the', '\\\\xE2')
    """
    shown = "".join(map(_visible_character, text))
    if mark_spaces:
        shown = shown.replace(" ", "␣") or "(empty)"
    return f"◌{shown}" if alone and text and unicodedata.category(text[0]) in ("Mn", "Me", "Mc") else shown


def _visible_character(character: str) -> str:
    if character in _SYMBOLS:
        return _SYMBOLS[character]
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02X}"
    return code_point(character) if _is_hidden(character) else character


def _is_hidden(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "Cf":  # Arabic number signs are visible, and belong to digits
        return character not in _JOINERS and unicodedata.bidirectional(character) not in ("AN", "AL")
    return category in _HIDDEN or (category == "Zs" and character != " ")


def code_point(character: str) -> str:
    """``U+05D0`` for one character."""
    return f"U+{ord(character):04X}"


def shorten(text: str, most: int) -> str:
    """At most so many characters, the last an ellipsis where some were cut."""
    return text if len(text) <= most else text[: most - 1] + "…"


def pieces(tokens: Sequence[str]) -> list[Piece]:
    """The tokens as runs, joined only where a character was cut between them.

    >>> [piece.text for piece in pieces(["a", "\\udcd7", "\\udca9", "\\udcd7"])]
    ['a', 'ש', '\\\\xD7']
    """
    found = []
    start = 0
    while start < len(tokens):
        stop = _whole(tokens, start)
        text = "".join(tokens[start:stop])
        if stop > start + 1:
            text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
        found.append(Piece(visible(text, alone=start == 0), range(start, stop)))
        start = stop
    return found


def _whole(tokens: Sequence[str], start: int) -> int:
    """Where the run from ``start`` ends: as long as each token completes a character that the one before began."""
    decoder = getincrementaldecoder("utf-8")("surrogateescape")
    stop = start
    for i in range(start, len(tokens)):
        begun = decoder.getstate()[0]
        try:
            text = decoder.decode(tokens[i].encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:  # a surrogate that stands for no byte
            break
        if begun and text[:1] != "" and "\udc80" <= text[0] <= "\udcff":
            break  # what was begun is no character
        if i == start or text:
            stop = i + 1
        if not decoder.getstate()[0]:
            break
    return max(stop, start + 1)


def direction(text: str) -> str:
    """``rtl`` where more letters are written from right to left than from left to right, else ``ltr``."""
    kinds = [unicodedata.bidirectional(character) for character in text]
    return "rtl" if sum(kind in ("R", "AL") for kind in kinds) > kinds.count("L") else "ltr"

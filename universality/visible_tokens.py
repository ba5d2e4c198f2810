"""Token strings made visible: invisible characters are written out, and none can reorder the text around it.

A byte-level tokenizer may split a character between tokens. Such bytes are expected as surrogate escapes (U+DC80 to
U+DCFF), as ``bytes.decode("utf-8", "surrogateescape")`` writes them; where neighbours complete the character, it is
joined again.
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
    """A run of tokens that are shown together.

    Parameters
    ----------
    text
        Visible text.
    tokens
        Indices of the tokens.
    """

    text: str
    tokens: range


def visible(text: str, *, mark_spaces: bool = False, alone: bool = True) -> str:
    """Write out everything invisible in a text.

    Newline and tab become ⏎ and ⇥. A byte that is not a character becomes ``\\xE2``. Other controls, bidirectional
    controls, private and unassigned code points, lone surrogates and unusual spaces become ``U+202E``.

    Parameters
    ----------
    mark_spaces
        Write a space as ␣, and an empty text as ``(empty)``.
    alone
        Put a leading combining mark on a dotted circle; set it to False where the preceding text is shown too.

    Examples
    --------
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
    if category == "Cf":  # of the format characters, Arabic number signs are visible
        return character not in _JOINERS and unicodedata.bidirectional(character) not in ("AN", "AL")
    return category in _HIDDEN or (category == "Zs" and character != " ")


def code_point(character: str) -> str:
    """Return the code point of a character in the form ``U+05D0``."""
    return f"U+{ord(character):04X}"


def shorten(text: str, most: int) -> str:
    """Cut a text to at most ``most`` characters, the last of them an ellipsis where text was cut."""
    return text if len(text) <= most else text[: most - 1] + "…"


def pieces(tokens: Sequence[str]) -> list[Piece]:
    """Divide tokens into runs, joined only where a character was split between them.

    Examples
    --------
    >>> [piece.text for piece in pieces(["a", "\\udcd7", "\\udca9", "\\udcd7"])]
    ['a', 'ש', '\\\\xD7']
    """
    runs = []
    start = 0
    while start < len(tokens):
        stop = _whole(tokens, start)
        text = "".join(tokens[start:stop])
        if stop > start + 1:
            text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
        runs.append(Piece(visible(text, alone=start == 0), range(start, stop)))
        start = stop
    return runs


def _whole(tokens: Sequence[str], start: int) -> int:
    """Return the end of the run from ``start``, in which each token continues a character of the one before."""
    decoder = getincrementaldecoder("utf-8")("surrogateescape")
    stop = start
    for i in range(start, len(tokens)):
        begun = decoder.getstate()[0]
        try:
            text = decoder.decode(tokens[i].encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:  # a surrogate that is not an escaped byte
            break
        # errors="surrogateescape" gives up on a begun character by returning its bytes as escapes
        if begun and text[:1] != "" and "\udc80" <= text[0] <= "\udcff":
            break  # the bytes so far do not begin a character
        if i == start or text:
            stop = i + 1
        if not decoder.getstate()[0]:
            break
    return max(stop, start + 1)


def direction(text: str) -> str:
    """Return ``rtl`` if most letters are written from right to left, else ``ltr``."""
    classes = [unicodedata.bidirectional(character) for character in text]
    return "rtl" if sum(c in ("R", "AL") for c in classes) > classes.count("L") else "ltr"

"""What may stand in a cell of a CSV file, and how to take it out again.

A text cell passes through three steps, each with an exact inverse:

- ``escape`` (``universality.export.token_escapes``): no control character, tab or line end is left.
- ``join_tokens``: several tokens in one cell stand between ``|``; a ``|`` inside a token is ``\\x7c``.
- ``guard``: a token can be ``=`` or ``@``, and a spreadsheet would run such a cell as a formula. A cell that
  begins with ``= + - @``, one of their full-width forms or an apostrophe gets an apostrophe in front. (OWASP,
  "CSV Injection"; its other openings, tab and carriage return, were escaped before.) A spreadsheet shows the
  apostrophe; a program takes it off with ``unguard``.
"""

from collections.abc import Iterable

from universality.export.token_escapes import escape, unescape

SEPARATOR = "|"
_FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")


def join_tokens(tokens: Iterable[str | bytes]) -> str:
    """One cell of several token strings, escaped.

    ``split_tokens`` is the inverse; only a single empty token reads back as no token.
    """
    return SEPARATOR.join(escape(token, also=SEPARATOR) for token in tokens)


def split_tokens(cell: str) -> list[str]:
    """The token strings of a cell that ``join_tokens`` wrote (take ``guard``'s apostrophe off first)."""
    return [unescape(part) for part in cell.split(SEPARATOR)] if cell else []


def guard(cell: str) -> str:
    """An apostrophe before a cell that a spreadsheet could take for a formula."""
    return "'" + cell if cell.startswith(_FORMULA_STARTS) else cell


def unguard(cell: str) -> str:
    """The exact inverse of ``guard``."""
    return cell.removeprefix("'")

"""Text cells of CSV files, and their exact inverse.

A text cell passes through three steps, each of which has an exact inverse:

- ``escape`` (`universality.export.token_escapes`) removes control characters, tabs and line ends.
- ``join_tokens`` separates several tokens in one cell by ``|``; a ``|`` inside a token becomes ``\\x7c``.
- ``guard`` keeps spreadsheets from running a cell as a formula, since a token can be ``=`` or ``@``. It puts an
  apostrophe before a cell that begins with ``= + - @``, one of their full-width forms, or an apostrophe (OWASP, "CSV
  Injection"; the other openings listed there, tab and carriage return, are escaped already). A spreadsheet shows the
  apostrophe; a program removes it with ``unguard``.
"""

from collections.abc import Iterable

from universality.export.token_escapes import escape, unescape

SEPARATOR = "|"
# The apostrophe is among them so that `unguard` can remove any leading one.
_FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")


def join_tokens(tokens: Iterable[str | bytes]) -> str:
    r"""Join token strings into one escaped cell.

    ``split_tokens`` is the inverse, except that a single empty token reads back as no token.

    Examples
    --------
    >>> join_tokens([" the", "|", "\n"])
    ' the|\\x7c|\\x0a'
    >>> split_tokens(join_tokens([" the", "|", "\n"]))
    [' the', '|', '\n']
    """
    return SEPARATOR.join(escape(token, also=SEPARATOR) for token in tokens)


def split_tokens(cell: str) -> list[str]:
    """Split a cell that ``join_tokens`` wrote into token strings; apply ``unguard`` first."""
    return [unescape(part) for part in cell.split(SEPARATOR)] if cell else []


def guard(cell: str) -> str:
    """Put an apostrophe before a cell that a spreadsheet could take for a formula."""
    return "'" + cell if cell.startswith(_FORMULA_STARTS) else cell


def unguard(cell: str) -> str:
    """Invert ``guard`` exactly."""
    return cell.removeprefix("'")

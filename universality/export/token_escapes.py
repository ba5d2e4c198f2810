r"""Reversible escapes for token strings, which give text that every reader accepts.

Tokens of a byte-level tokenizer contain control characters and parts of UTF-8 sequences. XML 1.0 forbids most of them
even as character references, CSV readers break lines at some of them, and none of them is visible. ``escape`` writes
each as a backslash sequence; ``unescape`` is its exact inverse:

====================================  ==============  =============================================
what                                  written         example
====================================  ==============  =============================================
backslash                             ``\\``          ``\`` → ``\\``
ASCII control character, U+007F       ``\xhh``, hh<80  BEL → ``\x07``, newline → ``\x0a``
byte that is not valid UTF-8          ``\xhh``, hh≥80  the lone byte 0xE2 → ``\xe2``
other lone surrogate, C1 control,     ``\uhhhh``      U+2028 → ``\u2028``
line separator, bidi control, U+FEFF
and U+xxFFFE, U+xxFFFF                ``\Uhhhhhhhh``  U+1FFFF → ``\U0001ffff``
====================================  ==============  =============================================

Invalid bytes arrive in a ``str`` as Python's ``surrogateescape`` carries them (U+DC80 to U+DCFF).
Everything else is unchanged, including spaces, scripts and emoji.
"""

import re

_BACKSLASH = 0x5C
_HIDDEN = (
    r"\x00-\x1f\x7f-\x9f"  # C0, DEL and C1 controls
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi controls, which reorder the text around them
    r"\u2028\u2029\ufeff"  # line and paragraph separators, byte-order mark
    r"\ud800-\udfff\ufffe\uffff"  # surrogates, and the noncharacters above them that XML 1.0 forbids
)
_PLANE_ENDS = "".join(chr((plane << 16) | low) for plane in range(1, 17) for low in (0xFFFE, 0xFFFF))
_UNSAFE = re.compile(rf"[\\{_HIDDEN}{_PLANE_ENDS}]")
_SEQUENCE = re.compile(r"\\(?:(\\)|x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.?))", re.DOTALL)


def _sequence(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code == _BACKSLASH:
        return "\\\\"
    if code < 0x80:
        return f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def escape(text: str | bytes, also: str = "") -> str:
    r"""Escape a text for XML, CSV and human readers.

    Parameters
    ----------
    text
        A string, possibly with lone surrogates, or bytes, possibly not UTF-8.
    also
        Further ASCII characters to escape, such as a caller's separators.

    Returns
    -------
    str
        Valid UTF-8 without control characters, from which ``unescape`` recovers ``text``.

    Examples
    --------
    >>> escape(b"caf\xc3\n")
    'caf\\xc3\\x0a'
    >>> unescape_bytes(escape(b"caf\xc3\n"))
    b'caf\xc3\n'
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    for character in also:
        if not " " <= character <= "~" or character == "\\" or character.isalnum():
            raise ValueError(f"also={also!r}: expected printable ASCII separators without letters, digits or \\")
    escaped = _UNSAFE.sub(_sequence, text)
    for character in also:
        escaped = escaped.replace(character, f"\\x{ord(character):02x}")
    return escaped


def _character(match: re.Match[str]) -> str:
    backslash, byte, short, long, other = match.groups()
    if backslash:
        return "\\"
    if other is not None:
        raise ValueError(
            f"expected \\\\, \\xhh, \\uhhhh or \\Uhhhhhhhh at position {match.start()}, found "
            f"{match.group()!r}; was this text written by escape()?"
        )
    code = int(byte or short or long, 16)
    if byte and code >= 0x80:
        code += 0xDC00
    if code > 0x10FFFF:
        raise ValueError(f"{match.group()} at position {match.start()} is beyond U+10FFFF")
    return chr(code)


def unescape(text: str) -> str:
    r"""Invert ``escape`` for strings; raise ValueError on a sequence that ``escape`` never writes."""
    return _SEQUENCE.sub(_character, text)


def unescape_bytes(text: str) -> bytes:
    """Invert ``escape`` for bytes; raise ValueError as ``unescape`` does."""
    return unescape(text).encode("utf-8", "surrogateescape")

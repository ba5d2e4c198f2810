"""Script of a piece of text, coarsely: Latin, Cyrillic, digits, punctuation, bytes, …

Python's ``unicodedata`` has no property *Script*. The first word of a letter's Unicode name is it in all but a few
cases (LATIN SMALL LETTER A, HEBREW LETTER ALEF, CJK UNIFIED IDEOGRAPH-4E00), and that is enough for classes.
"""

from __future__ import annotations

import unicodedata

DIGITS, MARKS, BYTES, NO_TEXT = "digits", "punctuation and space", "bytes", "no text"


def script_class(text: bytes) -> str:
    """Name the script of the first letter; without letters "digits", or else "punctuation and space".

    Parameters
    ----------
    text
        UTF-8, or part of a character, as in `universality.models.vocabulary.Vocabulary`.

    Returns
    -------
    str
        A script in lower case, or one of the names above; "bytes" for text that is not whole characters.

    Examples
    --------
    >>> [script_class(text.encode()) for text in (" the", "день", "2024", " {", "")]
    ['latin', 'cyrillic', 'digits', 'punctuation and space', 'no text']
    >>> script_class("é".encode()[:1])
    'bytes'
    """
    try:
        characters = text.decode("utf-8")
    except UnicodeDecodeError:
        return BYTES
    for character in characters:
        if unicodedata.category(character)[0] in "LM":
            return unicodedata.name(character, "unnamed").split()[0].lower()
    if any(unicodedata.category(character)[0] == "N" for character in characters):
        return DIGITS
    return MARKS if characters else NO_TEXT

"""Scripts of token texts."""

from __future__ import annotations

import pytest

from universality.corpus.script_class import script_class


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" the", "latin"),
        ("é", "latin"),
        ("день", "cyrillic"),
        (" של", "hebrew"),
        ("ال", "arabic"),
        ("中", "cjk"),
        ("ひ", "hiragana"),
        ("다", "hangul"),
        ("α", "greek"),
        ("12", "digits"),
        ("٣", "digits"),
        ("x1", "latin"),
        ("1x", "latin"),  # letters decide, wherever they stand
        (" {", "punctuation and space"),
        ("\n\n", "punctuation and space"),
        ("€", "punctuation and space"),
        ("", "no text"),
    ],
)
def test_the_first_letter_decides(text: str, name: str) -> None:
    assert script_class(text.encode()) == name


def test_parts_of_characters_are_bytes() -> None:
    assert script_class("ש".encode()[:1]) == "bytes"
    assert script_class(b" \xd7") == "bytes"

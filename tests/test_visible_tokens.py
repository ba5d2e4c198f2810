"""Token strings that can be shown."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from universality.visible_tokens import direction, pieces, shorten, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x00", "U+0000"), ("\x85", "U+0085"), ("\u202e", "U+202E"), ("\u2066x", "U+2066x"), ("\u200b", "U+200B"),
        ("\ufeff", "U+FEFF"), ("\xa0", "U+00A0"), ("\u2028", "U+2028"), ("\ue000", "U+E000"), ("\U000e0041", "U+E0041"),
        ("\udce2", "\\xE2"), ("\ud83d", "U+D83D"), ("\n\t", "⏎⇥"), ("\r", "U+000D"), ("a b", "a b"),
        ("\u05b7x", "◌\u05b7x"), ("ا\u200cب", "ا\u200cب"), ("\u0600", "\u0600"), ("<b>", "<b>"), ("", ""),
    ],
)  # fmt: skip
def test_everything_invisible_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_token_alone_shows_its_spaces_and_that_it_is_empty() -> None:
    assert visible(" the ", mark_spaces=True) == "␣the␣"
    assert visible("", mark_spaces=True) == "(empty)"


@settings(deadline=None)  # a busy machine
@given(st.text(st.characters(codec=None)))
def test_what_is_shown_can_be_encoded_holds_no_control_and_is_shown_the_same_again(text: str) -> None:
    shown = visible(text)
    shown.encode("utf-8")
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp") for c in shown)
    assert not any(unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
                   for c in shown)  # fmt: skip
    assert visible(shown) == shown


def test_characters_cut_by_the_tokenizer_are_put_together() -> None:
    cut = [b.decode("utf-8", "surrogateescape") for b in (b"a", b" \xe0\xa4", b"\xa8", b"b\xd7", b"\xa9c", b"\xd7")]
    found = pieces(cut)
    assert [piece.text for piece in found] == ["a", " न", "bשc", "\\xD7"]
    assert [list(piece.tokens) for piece in found] == [[0], [1, 2], [3, 4], [5]]


def test_a_stray_byte_before_a_cut_character_does_not_keep_it_apart() -> None:
    cut = [
        b.decode("utf-8", "surrogateescape")
        for b in (b"\x90\xd7", b"\x94", b"\xe0", b"\xa4", b"x", b"\xd7\xa9\xd7", b"y")
    ]
    assert [(p.text, len(p.tokens)) for p in pieces(cut)] == [
        ("\\x90ה", 2), ("\\xE0", 1), ("\\xA4", 1), ("x", 1), ("ש\\xD7", 1), ("y", 1),
    ]  # fmt: skip


def test_bytes_that_no_neighbour_completes_stay_bytes() -> None:
    assert [p.text for p in pieces(["\udcff", "x", "\ud83d", "\udce2"])] == ["\\xFF", "x", "U+D83D", "\\xE2"]


@settings(deadline=None)
@given(st.binary(max_size=40), st.lists(st.integers(0, 40), max_size=8))
def test_pieces_cover_every_token_once(text: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut <= len(text)), len(text)]
    tokens = [text[a:b].decode("utf-8", "surrogateescape") for a, b in pairwise(places)]
    found = pieces(tokens)
    assert [i for piece in found for i in piece.tokens] == list(range(len(tokens)))


@settings(deadline=None)
@given(st.text(max_size=20), st.data())
def test_cut_text_is_shown_as_the_text_whatever_the_cuts(text: str, data: st.DataObject) -> None:
    raw = text.encode("utf-8", "replace")
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=12))
    tokens = [raw[a:b].decode("utf-8", "surrogateescape") for a, b in pairwise([0, *sorted(cuts), len(raw)])]
    shown = "".join(piece.text for piece in pieces(tokens))
    assert shown in (visible(raw.decode()), visible(raw.decode(), alone=False))  # an empty token may stand first


def test_a_mark_stands_on_a_circle_only_where_nothing_precedes_it() -> None:
    assert [p.text for p in pieces(["\u05b7", "א", "\u05b7"])] == ["◌\u05b7", "א", "\u05b7"]


def test_direction_goes_by_most_letters() -> None:
    assert direction("שלום a") == "rtl"
    assert direction("abc ש") == "ltr"
    assert direction("123") == "ltr"


def test_shorten() -> None:
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcd", 4) == "abcd"

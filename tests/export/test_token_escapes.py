"""Escaped tokens survive every reader, and come back exactly."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from universality.export.token_escapes import escape, unescape, unescape_bytes

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # surrogates included
XML_FORBIDS = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        ("\x07", r"\x07"),
        ("\n", r"\x0a"),
        ("\x7f", r"\x7f"),
        ("\\", r"\\"),
        ("\\x07", r"\\x07"),
        ("\x85", r"\u0085"),
        ("\u2028", r"\u2028"),
        ("\u202e", r"\u202e"),
        ("\ufeff", r"\ufeff"),
        ("\uffff", r"\uffff"),
        ("\U0001ffff", r"\U0001ffff"),
        ("\ud800", r"\ud800"),
        (b"\xe2\x80", r"\xe2\x80"),
        ("é".encode(), "é"),
        (" the", " the"),
        ("مرحبا", "مرحبا"),
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_examples(raw: str | bytes, written: str) -> None:
    assert escape(raw) == written
    back = unescape_bytes(written) if isinstance(raw, bytes) else unescape(written)
    assert back == raw


@given(ANY_TEXT)
def test_round_trip_of_text(text: str) -> None:
    assert unescape(escape(text)) == text


@given(st.binary())
def test_round_trip_of_bytes(raw: bytes) -> None:
    assert unescape_bytes(escape(raw)) == raw


@given(ANY_TEXT, st.sampled_from(["|", ",;", "'|"]))
def test_round_trip_with_separators(text: str, also: str) -> None:
    escaped = escape(text, also=also)
    assert not set(also) & set(escaped)
    assert unescape(escaped) == text


@given(ANY_TEXT)
def test_escaped_text_is_what_xml_allows_and_holds_no_line_end(text: str) -> None:
    escaped = escape(text)
    escaped.encode("utf-8")
    assert not XML_FORBIDS.search(escaped)
    assert len(escaped.splitlines()) <= 1
    element = ElementTree.Element("data")
    element.text = escaped
    assert (ElementTree.fromstring(ElementTree.tostring(element, "unicode")).text or "") == escaped


def test_control_raw_text_is_refused_by_an_xml_parser() -> None:
    with pytest.raises(ElementTree.ParseError):
        ElementTree.fromstring("<data>\x07</data>")


@given(ANY_TEXT, ANY_TEXT)
def test_two_texts_are_never_written_alike(first: str, second: str) -> None:
    assert (escape(first) == escape(second)) == (first == second)


@pytest.mark.parametrize("text", ["\\", r"\n", r"\x7", r"\xFF", r"\u12", "\\\n"])
def test_unescape_refuses_what_escape_never_writes(text: str) -> None:
    with pytest.raises(ValueError, match="was this text written by escape"):
        unescape(text)


def test_unescape_refuses_beyond_unicode() -> None:
    with pytest.raises(ValueError, match=r"beyond U\+10FFFF"):
        unescape(r"\U00110000")


@pytest.mark.parametrize("also", ["\\", "x", "7", "\t", "é"])
def test_separators_that_would_not_come_back_are_refused(also: str) -> None:
    with pytest.raises(ValueError, match="expected printable ASCII separators"):
        escape("text", also=also)

"""A cell comes back as it was, and no spreadsheet takes it for a formula."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from universality.export.csv_cells import guard, join_tokens, split_tokens, unguard

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(st.lists(ANY_TEXT, max_size=5).filter(lambda tokens: tokens != [""]))
def test_tokens_come_back(tokens: list[str]) -> None:
    cell = guard(join_tokens(tokens))
    assert split_tokens(unguard(cell)) == tokens


def test_bytes_are_joined_like_text() -> None:
    assert join_tokens([b"\xe2", "a|b", " the"]) == r"\xe2|a\x7cb| the"


@given(ANY_TEXT)
def test_guard_comes_off(text: str) -> None:
    assert unguard(guard(text)) == text


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\uff1d", "\t", "\r", "\n", "'="])
def test_no_cell_begins_as_a_formula_does(start: str) -> None:
    cell = guard(join_tokens([start + "cmd|' /C calc'!A0"]))
    assert cell[0] not in "=+-@\uff1d\uff0b\uff0d\uff20\t\r\n"


def test_control_ordinary_cells_stay_as_they_are() -> None:
    assert [guard(cell) for cell in (" the", "", "a=b")] == [" the", "", "a=b"]

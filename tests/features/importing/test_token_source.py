"""Columns of tokens: documents and their halves, special tokens, kinds, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from universality.corpus.documents import DocumentTable
from universality.errors import FormatError, MismatchError
from universality.features.importing.token_source import TokenSource, token_source

IDS = [9, 1, 2, 9, 3, 4, 9, 5]


def source(token: Any = IDS, special: Any = (9,), **columns: Any) -> TokenSource:
    given = dict.fromkeys(("document", "position", "kind", "group", "documents")) | columns
    return token_source("x", token, special_tokens=special, **given)


def test_a_sequence_is_a_document_where_nothing_else_is_known() -> None:
    found = source(position=[0, 1, 2, 0, 1, 2, 0, 1])
    assert found.document.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert found.documents.id == found.documents.group == ("0", "1", "2")
    assert found.kept.tolist() == [False, True, True, False, True, True, False, True]
    assert found.kinds[found.kind].tolist() == ["text"] * 8


def test_documents_by_name_and_places_within_them() -> None:
    found = source(document=["b", "b", "b", "a", "a", "a", "b", "b"], kind=["x"] * 3 + ["y"] * 3 + ["x"] * 2)
    assert found.document.tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
    assert found.documents.id == ("b", "a")
    assert found.documents.kind == ("x", "y")
    assert found.position.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


def test_half_of_the_documents_choose_and_no_group_is_in_both() -> None:
    document = np.repeat(np.arange(41), 3)
    found = source(np.arange(123), (), document=document)
    assert {name: found.documents.split.count(name) for name in ("train", "choose", "report")} == {
        "train": 0, "choose": 20, "report": 21,
    }  # fmt: skip
    grouped = source(np.arange(123), (), document=document, group=document // 2).documents
    halves = dict(zip(grouped.group, grouped.split, strict=True))
    assert [halves[group] for group in grouped.group] == list(grouped.split)
    assert set(grouped.split) == {"choose", "report"}


def test_a_table_of_documents_is_used_as_it_is() -> None:
    table = DocumentTable(("p", "q"), ("x", "y"), ("g", "h"), ("choose", "report"))
    found = source(document=[0, 0, 0, 0, 1, 1, 1, 1], documents=table)
    assert found.documents is table
    assert found.kinds[found.kind].tolist() == ["x"] * 4 + ["y"] * 4


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({}, FormatError, "give document= .*, or position="),
        ({"position": [0, 1]}, MismatchError, r"position needs one entry for each of the 8 rows, found shape \[2\]"),
        ({"position": [0.0] * 8}, FormatError, "position must be integers, found float64"),
        ({"position": [0, 1, 2, -1, 0, 0, 0, 0]}, FormatError, "x, row 3: position -1 is not in 0"),
        ({"token": [1, 2**40], "document": [0, 0]}, FormatError, "row 1: token 1099511627776 is not in 0"),
        ({"token": [], "document": []}, MismatchError, "x: holds no tokens"),
        ({"document": ["a", None] * 4}, FormatError, "row 1: document is missing"),
        ({"document": [0.5] * 8}, FormatError, "document must be text or integers, found 0.5"),
        ({"document": [0] * 8, "kind": ["a"] * 7}, MismatchError, r"kind needs one entry .* found shape \(7,\)"),
        ({"document": [0] * 8, "group": [0] * 7 + [1]}, MismatchError, "row 7: document '0' is of group '1', but of"),
        ({"document": [0] * 8, "special": range(10)}, MismatchError, "all 8 tokens are among special_tokens"),
        ({"documents": DocumentTable((), (), (), ())}, FormatError, "give document="),
        ({"documents": DocumentTable((), (), (), ()), "position": [0] * 8}, MismatchError, "documents= is a table"),
        ({"documents": DocumentTable(("a",), ("k",), ("a",), ("report",)), "document": [0] * 7 + [1]}, MismatchError,
         "row 7: document 1 is not in the table of 1 documents"),
    ],
)  # fmt: skip
def test_columns_that_are_refused(columns: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        source(**columns)


def test_a_bos_token_that_was_not_named_is_warned_of() -> None:
    token, position = [7, 1, 7, 2] * 4, [0, 1] * 8
    with pytest.warns(UserWarning, match=r"each of its 8 blocks begins with token 7, .* special_tokens=\[7\]"):
        source(token, (), position=position)
    source(token, (7,), position=position)
    source([3, *token[1:]], (), position=position)  # one block begins otherwise

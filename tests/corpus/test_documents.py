"""A document table is rectangular, of text, with known splits."""

from typing import Any

import pytest

from universality.corpus.documents import DocumentTable
from universality.errors import CorpusError


def test_columns_become_tuples() -> None:
    table = DocumentTable(id=["a", "b"], kind=["k", "k"], group=["g", "h"], split=["train", "choose"])  # type: ignore[arg-type]
    assert table.id == ("a", "b")
    assert len(table) == 2
    assert table == DocumentTable(("a", "b"), ("k", "k"), ("g", "h"), ("train", "choose"))
    assert len(DocumentTable((), (), (), ())) == 0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ((("a",), ("k", "k"), ("g",), ("train",)), "columns of one length, found {'id': 1, 'kind': 2"),
        ((("a", 1), ("k", "k"), ("g", "g"), ("train", "train")), "document 1: id must be text, found int 1"),
        ((("a",), (None,), ("g",), ("train",)), "document 0: kind must be text, found NoneType None"),
        (
            (("a",), ("k",), ("g",), ("dev",)),
            r"document 0 \('a'\): unknown split 'dev'; choose one of train, choose, rep",
        ),
    ],
)
def test_bad_tables(columns: Any, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        DocumentTable(*columns)

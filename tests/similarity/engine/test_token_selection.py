"""Selections are the rows of the documents; what is out of range, empty or of other tokens is refused."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from planted import text, write_store
from sparse_sides import SEEN, stores

from universality.errors import MismatchError, UniversalityError
from universality.similarity.engine.token_selection import select


def test_all_rows_those_of_documents_and_explicit_pairs(tmp_path: Path) -> None:
    a, b = stores(tmp_path)
    every = select(a, b)
    assert every.rows_b is every.rows_a
    assert every.n == SEEN.n_tokens
    some = select(a, b, documents=[2, 0])
    assert_array_equal(some.rows_a, np.flatnonzero(SEEN.document != 1))
    assert_array_equal(some.documents, [0, 2])
    assert some.describe()["n_documents"] == 2
    assert not select(a, b, rows=([1, 2], [1, 2])).repaired
    assert select(a, b, rows=([1, 2], [2, 1])).repaired


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"documents": []}, r"documents: expected a non-empty array of integers \[n\], found float64"),
        ({"documents": [3]}, r"documents: expected indices from 0 to 2 \(.*a\.h5\), found 3 to 3"),
        ({"rows": ([0, 1], [0])}, "rows must pair up: 2 rows of one store, 1 of the other"),
        ({"rows": ([0], [0]), "documents": [0]}, "give documents or rows, not both"),
    ],
)
def test_senseless_choices_are_refused(tmp_path: Path, choice: dict, message: str) -> None:
    with pytest.raises(UniversalityError, match=message):
        select(*stores(tmp_path), **choice)


def test_stores_of_other_tokens_are_refused(tmp_path: Path) -> None:
    a, _ = stores(tmp_path)
    other = text(2)
    b = write_store(tmp_path / "c.h5", np.ones((other.n_tokens, 2)), other)
    with pytest.raises(MismatchError, match=r"c\.h5: written from tokens .*both stores must see the same tokens"):
        select(a, b)

"""Sparse matrices of any format become stores; wrong entries are named by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from universality.corpus.documents import DocumentTable
from universality.errors import FormatError, MismatchError
from universality.features import Dictionary, FeatureStore

N = 60
MATRIX = sparse.random(N, 8, density=0.3, format="csr", dtype=np.float32, random_state=0)
COLUMNS: dict[str, Any] = {"position": np.arange(N) % 6, "special_tokens": [0]}
TOKEN = np.where(np.arange(N) % 6 == 0, 0, np.arange(N))


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "bsr", "array"])
def test_any_sparse_format(tmp_path: Path, form: str) -> None:
    given = sparse.coo_array(MATRIX) if form == "array" else MATRIX.asformat(form)
    with FeatureStore.from_csr(given, tmp_path / "a.h5", TOKEN, **COLUMNS) as store:
        text = TOKEN != 0
        assert_array_equal(store.csr().toarray(), MATRIX.toarray()[text])
        assert_array_equal(store.tokens.token, TOKEN[text])
        assert store.tokens.position[:6].tolist() == [1, 2, 3, 4, 5, 1]
        assert store.tokens.document[:6].tolist() == [0, 0, 0, 0, 0, 1]
        record = store.provenance["imported"]
        assert (record["format"], record["n_rows"], record["left_out"]) == ("csr", 60, 10)
        store.verify()


def test_contents_do_not_depend_on_the_budget_and_the_hash_is_of_the_input(tmp_path: Path) -> None:
    unsorted = sparse.csr_matrix((MATRIX.data.copy(), MATRIX.indices.copy(), MATRIX.indptr), shape=MATRIX.shape)
    unsorted.indices[:2], unsorted.data[:2] = unsorted.indices[1::-1].copy(), unsorted.data[1::-1].copy()
    stores = [
        FeatureStore.from_csr(matrix, tmp_path / f"{i}.h5", TOKEN, memory_budget=budget, **COLUMNS)
        for i, (matrix, budget) in enumerate(
            [(MATRIX, 1 << 28), (MATRIX, 1), (unsorted, 1 << 28), (2 * MATRIX, 1 << 28)]
        )
    ]
    assert len({store.content_hash() for store in stores}) == 2
    assert stores[0].content_hash() != stores[3].content_hash()
    hashes = [store.provenance["imported"]["sha256"] for store in stores]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_tables_weights_and_provenance_are_kept(tmp_path: Path) -> None:
    documents = DocumentTable(("p", "q"), ("x", "y"), ("g", "h"), ("choose", "report"))
    with FeatureStore.from_csr(
        MATRIX, tmp_path / "a.h5", TOKEN, special_tokens=(), document=np.arange(N) // 30, documents=documents,
        provenance={"model": {"name": "toy", "hash": "1"}}, dictionary=Dictionary(np.eye(8)),
    ) as store:  # fmt: skip
        assert store.documents == documents
        assert store.tokens.kinds == ("x", "y")
        assert store.provenance["model"]["name"] == "toy"
        assert store.decoder_rows().shape == (8, 8)


def with_entry(index: int, value: Any, name: str = "data") -> sparse.csr_matrix:
    matrix = MATRIX.copy()
    getattr(matrix, name)[index] = value
    return matrix


TWICE = sparse.coo_matrix((np.ones(3), ([0, 4, 4], [1, 2, 2])), shape=(N, 8))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (MATRIX.toarray(), "expected a two-dimensional SciPy sparse matrix, found ndarray"),
        (with_entry(3, np.nan), "the matrix, entry 3: activations must be finite in float32, found nan"),
        (sparse.csr_matrix(1e42 * MATRIX.astype(np.float64)), "entry 0: activations must be finite in float32"),
        (MATRIX.astype(np.complex64), "activations must be real numbers, found complex64"),
        (with_entry(5, 8, "indices"), "the matrix, entry 5: feature 8 is not in 0 … 7"),
        (with_entry(5, -1, "indices"), "the matrix, entry 5: feature -1 is not in 0 … 7"),
        (with_entry(1, MATRIX.indices[0], "indices"), r"the matrix, row \d: feature \d is named twice"),
        (with_entry(5, 10**6, "indptr"), "indptr must rise from 0"),
        (TWICE, "the matrix, row 4: feature 2 is named twice; call sum_duplicates"),
    ],
)
def test_wrong_entries_are_refused_and_leave_nothing(tmp_path: Path, matrix: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        FeatureStore.from_csr(matrix, tmp_path / "a.h5", TOKEN, **COLUMNS)
    assert not [file for file in tmp_path.iterdir() if not file.name.endswith(".lock")]


def test_lengths_and_files_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="the matrix has 60 rows, but token= has 59 entries"):
        FeatureStore.from_csr(MATRIX, tmp_path / "a.h5", TOKEN[1:], **COLUMNS)
    (tmp_path / "a.h5").write_text("mine")
    with pytest.raises(FileExistsError, match="exists already"):
        FeatureStore.from_csr(MATRIX, tmp_path / "a.h5", TOKEN, **COLUMNS)
    FeatureStore.from_csr(MATRIX, tmp_path / "a.h5", TOKEN, overwrite=True, **COLUMNS).close()

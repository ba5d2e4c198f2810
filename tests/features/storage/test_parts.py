"""Stores cut from others and put together hold what a store written at once would hold."""

import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feature_rows import activations, token_columns, write
from numpy.testing import assert_array_equal
from scipy import sparse

from universality.corpus.documents import DocumentTable
from universality.errors import MismatchError
from universality.features import Dictionary, FeatureStore, concatenate, cut
from universality.models.unembedding import Unembedding

N = 500
MATRIX, COLUMNS = activations(N), token_columns(N)
N_DOCUMENTS = int(COLUMNS["document"].max()) + 1
WEIGHTS = Dictionary(np.arange(60).reshape(12, 5), bias=np.arange(12), residual=np.arange(48).reshape(12, 4))
UNEMBEDDING = Unembedding(np.ones((4, 9)), np.ones(4), np.ones(9, bool), True)
ENDS: dict[str, Any] = {"dictionary": WEIGHTS, "unembedding": UNEMBEDDING}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return write(tmp_path_factory.mktemp("parts") / "a.h5", MATRIX, **ENDS)


def part(path: Path, start: int, stop: int, documents: DocumentTable | None = None, **finish: Any) -> Path:
    """Rows ``start`` up to ``stop`` in a store of their own, as a rank writes them."""
    writer = FeatureStore.create(path, 12, {"seed": 1}, documents)
    writer.append(MATRIX[start:stop], **{name: column[start:stop] for name, column in COLUMNS.items()})
    writer.finish(**finish).close()
    return path


CHOICES: dict[str, tuple[dict[str, Any], Callable[[], np.ndarray]]] = {
    "slice": ({"tokens": slice(30, 222)}, lambda: np.arange(30, 222)),
    "rows": ({"tokens": [3, 99, 100, 480]}, lambda: np.array([3, 99, 100, 480])),
    "mask": ({"tokens": np.arange(N) % 3 == 0}, lambda: np.arange(0, N, 3)),
    "documents": ({"documents": [0, 7, 8]}, lambda: np.flatnonzero(np.isin(COLUMNS["document"], [0, 7, 8]))),
    "both": (
        {"documents": np.arange(N_DOCUMENTS) < 2, "tokens": slice(20, None)},
        lambda: np.flatnonzero((COLUMNS["document"] < 2) & (np.arange(N) >= 20)),
    ),
}


@pytest.mark.parametrize("name", CHOICES)
def test_tokens_cut_out(tmp_path: Path, store: FeatureStore, name: str) -> None:
    choice, rows = CHOICES[name]
    with cut(store, tmp_path / "b.h5", **choice) as made:
        made.verify()
        assert_array_equal(made.csr().toarray(), MATRIX[rows()].toarray())
        assert_array_equal(made.columns(0, 12).toarray(), MATRIX[rows()].toarray())
        for column in ("token", "document", "position"):
            assert_array_equal(getattr(made.tokens, column), COLUMNS[column][rows()])
        assert_array_equal(made.tokens.kind_names, COLUMNS["kind"][rows()])
        assert made.documents == store.documents
        assert made.provenance["seed"] == 1
        assert made.provenance["cut"] == {"from": store.content_hash(), "n_tokens": len(rows()), "n_features": 12}


def test_features_cut_out_in_their_order(tmp_path: Path, store: FeatureStore) -> None:
    features = [9, 0, 3, 4]
    with cut(store, tmp_path / "b.h5", features=features) as made:
        made.verify()
        assert made.tokens_hash == store.tokens_hash
        assert_array_equal(made.csr().toarray(), MATRIX.toarray()[:, features])
        assert_array_equal(made.alive, [True, True, False, True])
        assert made.dictionary is not None
        assert_array_equal(made.dictionary.decoder, WEIGHTS.decoder[features])
        assert_array_equal(made.dictionary.bias, features)
        assert made.dictionary.encoder is None
        unembedding = made.unembedding()
        assert unembedding is not None
        assert unembedding.hash == UNEMBEDDING.hash
    with cut(store, tmp_path / "c.h5", features=store.alive) as made:
        assert made.alive.all()
        assert made.n_features == 11


def test_everything_cut_out_is_the_store(tmp_path: Path, store: FeatureStore) -> None:
    with cut(store, tmp_path / "b.h5") as made:
        assert made.content_hash() == store.content_hash()


WRONG: dict[str, tuple[dict[str, Any], type[ValueError], str]] = {
    "no tokens": ({"tokens": slice(7, 7)}, MismatchError, "none of its 500 tokens is in what tokens= and documents="),
    "disjoint": ({"tokens": slice(14), "documents": [3]}, MismatchError, "a.h5: none of its 500 tokens is in what"),
    "no features": ({"features": []}, MismatchError, "features= names none of its 12 features"),
    "short mask": ({"tokens": np.ones(3, bool)}, ValueError, "tokens= must be a slice, a mask of length 500 or dist"),
    "floats": ({"features": [1.0]}, ValueError, r"features= must be a slice, .* found float64 \[1\]"),
    "twice": ({"features": [2, 2]}, ValueError, "or distinct integers"),
    "outside": ({"documents": [999]}, ValueError, "documents= must lie in 0 … 35, found 999 … 999"),
    "negative": ({"tokens": [-1]}, ValueError, "tokens= must lie in 0 … 499, found -1 … -1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_senseless_cuts_are_refused_and_leave_nothing(tmp_path: Path, store: FeatureStore, name: str) -> None:
    choice, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        cut(store, tmp_path / "b.h5", **choice)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [False, True])
def test_shards_together_are_the_store_written_at_once(tmp_path: Path, store: FeatureStore, given: bool) -> None:
    """With one table for all shards, and with tables that each shard made of what it saw."""
    table = store.documents if given else None
    paths = [
        part(tmp_path / f"{start}-{stop}.h5", start, stop, table, **ENDS)
        for start, stop in ((0, 180), (180, 201), (201, 201), (201, N))
    ]
    with concatenate(paths, tmp_path / "b.h5") as made:
        made.verify()
        assert made.content_hash() == store.content_hash()
        assert made.tokens_hash == store.tokens_hash
        assert_array_equal(made.moments().sum, store.moments().sum)
        assert made.provenance == {"seed": 1}
    with concatenate(paths[:1], tmp_path / "c.h5") as alone, FeatureStore.open(paths[0]) as first:
        assert alone.content_hash() == first.content_hash()


def test_cut_apart_and_put_together(tmp_path: Path, store: FeatureStore) -> None:
    paths = [tmp_path / f"{start}.h5" for start in (0, 140, 420)]
    for path, stop in zip(paths, (140, 420, N), strict=True):
        cut(store, path, tokens=slice(int(path.stem), stop)).close()
    with concatenate(paths, tmp_path / "b.h5") as made:
        assert made.content_hash() == store.content_hash()
        assert made.provenance["seed"] == 1
        assert [told["cut"]["n_tokens"] for told in made.provenance["parts"]] == [140, 280, 80]


def table(*rows: tuple[str, str, str, str]) -> DocumentTable:
    return DocumentTable(*zip(*rows, strict=True))


def shard(path: Path, documents: DocumentTable, n_features: int = 3, **finish: Any) -> Path:
    n = len(documents)
    writer = FeatureStore.create(path, n_features, {"rank": path.stem}, documents)
    rows = sparse.csr_matrix(np.eye(n, n_features, dtype=np.float32))
    writer.append(rows, token=[1] * n, document=range(n), position=[1] * n, kind=documents.kind)
    writer.finish(**finish).close()
    return path


def test_tables_are_joined_by_id(tmp_path: Path) -> None:
    a = shard(tmp_path / "a.h5", table(("x", "en", "g", "choose"), ("y", "dna", "h", "report")))
    b = shard(tmp_path / "b.h5", table(("z", "en", "i", "report"), ("y", "", "h", "report")))
    with concatenate([a, b], tmp_path / "c.h5") as made:
        assert made.documents == table(
            ("x", "en", "g", "choose"), ("y", "dna", "h", "report"), ("z", "en", "i", "report")
        )
        assert_array_equal(made.tokens.document, [0, 1, 2, 1])
        assert made.provenance == {"parts": [{"rank": "a"}, {"rank": "b"}]}


def test_shards_that_do_not_belong_together(tmp_path: Path) -> None:
    def made(name: str, *rows: tuple[str, str, str, str], **more: Any) -> Path:
        return shard(tmp_path / name, table(*rows), **more)

    a = made("a.h5", ("x", "en", "g", "choose"), dictionary=Dictionary(np.ones((3, 2))))
    wider = made("b.h5", ("y", "en", "g", "choose"), n_features=4)
    other = made("c.h5", ("y", "en", "g", "choose"), dictionary=Dictionary(np.zeros((3, 2))))
    again = made("d.h5", ("x", "en", "g", "choose"), dictionary=Dictionary(np.ones((3, 2))))
    split = made("e.h5", ("x", "en", "g", "report"), dictionary=Dictionary(np.ones((3, 2))))
    twice = made("f.h5", *[("y", "en", "g", "report")] * 2, dictionary=Dictionary(np.ones((3, 2))))
    for second, message in (
        (wider, r"b\.h5: has 4 features, but .*a\.h5 has 3; shards are of one dictionary"),
        (other, r"c\.h5: its dictionary or unembedding is not that of .*a\.h5"),
        (again, r"d\.h5: has the same tokens as .*a\.h5; name each shard once"),
        (split, r"e\.h5: document 'x' is \('en', 'g', 'report'\) \(kind, group, split\), \('en', 'g', 'choose'\) in"),
        (twice, r"f\.h5: two documents have one id, so its table cannot be joined with others"),
    ):
        with pytest.raises(MismatchError, match=message):
            concatenate([a, second], tmp_path / "out.h5")
    with pytest.raises(ValueError, match="concatenate: expected at least one store, found none"):
        concatenate([], tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize("memory_budget", [200, 1000, 1 << 20])
def test_batches_are_all_rows_within_the_budget(store: FeatureStore, memory_budget: int) -> None:
    at, parts = 0, []
    for span, rows in store.batches(memory_budget):
        assert span.start == at
        assert rows.shape[0] == span.stop - span.start > 0
        assert rows.data.nbytes + rows.indices.nbytes + rows.indptr.nbytes <= memory_budget
        parts.append(rows)
        at = span.stop
    assert_array_equal(sparse.vstack(parts).toarray(), MATRIX.toarray())
    assert (len(parts) == 1) == (memory_budget == 1 << 20)


def test_a_budget_too_small_for_a_row_says_how_much_it_takes(store: FeatureStore) -> None:
    with pytest.raises(ValueError, match=r"a\.h5: row \d+ holds \d activations, which take \d+ bytes to read; the mem"):
        list(store.batches(40))


def read_all(path: Path) -> str:
    """What a reader in another process does."""
    with FeatureStore.open(path) as store:
        store.verify()
        assert sum(rows.nnz for _, rows in store.batches(4000)) == store.n_stored
        return store.content_hash()


def test_processes_read_one_store_at_once(store: FeatureStore) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert set(pool.map(read_all, [store.path] * 4)) == {store.content_hash()}


def test_threads_read_one_handle_at_once(store: FeatureStore) -> None:
    gate = threading.Barrier(4)

    def read(seed: int) -> None:
        gate.wait()
        for j in np.random.default_rng(seed).integers(0, 12, 40).tolist():
            rows, values = store.feature(j)
            assert_array_equal(values, MATRIX[rows, j].toarray().ravel())
            assert_array_equal(store.rows(slice(j, j + 30)).toarray(), MATRIX[j : j + 30].toarray())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(4)))

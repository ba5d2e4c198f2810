"""What was appended is what is read, by row and by column, whatever the batches were."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from feature_rows import KINDS, activations, token_columns, write
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from universality.corpus.documents import DocumentTable
from universality.errors import FormatError
from universality.features import Dictionary, FeatureStore
from universality.features.storage import chunks, writer
from universality.features.storage import sparse_matrix as matrix_module
from universality.features.storage import verification as verify

N = 500


@pytest.fixture(scope="module")
def matrix() -> sparse.csr_matrix:
    return activations(N)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, matrix: sparse.csr_matrix) -> FeatureStore:
    return write(tmp_path_factory.mktemp("store") / "a.h5", matrix)


def assert_same(found: sparse.spmatrix, expected: sparse.spmatrix) -> None:
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert_array_equal(found.toarray(), expected.toarray())


def test_sizes(store: FeatureStore, matrix: sparse.csr_matrix) -> None:
    assert (store.n_tokens, store.n_features, store.n_stored) == (N, 12, matrix.nnz)
    assert_array_equal(store.alive, np.arange(12) != 3)
    whole = store.csr()
    assert store.nbytes == whole.data.nbytes + whole.indices.nbytes + whole.indptr.nbytes
    assert repr(store) == f"FeatureStore({str(store.path)!r}, n_tokens=500, n_features=12)"


def test_rows(store: FeatureStore, matrix: sparse.csr_matrix) -> None:
    assert_same(store.csr(), matrix)
    for rows in (slice(0, 1), slice(17, 300), slice(-5, None), slice(490, 9999), slice(8, 8), slice(9, 4)):
        assert_same(store.rows(rows), matrix[rows])
    assert store.csr().has_canonical_format
    with pytest.raises(ValueError, match=r"rows\(\) reads a contiguous slice, found step 2"):
        store.rows(slice(0, 9, 2))


def test_features_and_columns(store: FeatureStore, matrix: sparse.csr_matrix) -> None:
    dense = matrix.toarray()
    for j in range(12):
        rows, values = store.feature(j)
        assert (rows.dtype, values.dtype) == (np.int64, np.float32)
        assert_array_equal(rows, np.flatnonzero(dense[:, j]))
        assert_array_equal(values, dense[rows, j])
    for start, stop in ((0, 12), (2, 5), (3, 4), (7, 7)):
        columns = store.columns(start, stop)
        assert_same(columns, matrix[:, start:stop])
        assert isinstance(columns, sparse.csc_matrix)
    for wrong in (-1, 12):
        with pytest.raises(ValueError, match=rf"feature {wrong} is not in 0 … 11"):
            store.feature(wrong)
    with pytest.raises(ValueError, match="columns 4 to 13 are not a range within 0 … 12"):
        store.columns(4, 13)


def test_moments_are_those_of_the_dense_matrix(store: FeatureStore, matrix: sparse.csr_matrix) -> None:
    dense = matrix.toarray().astype(np.float64)
    moments = store.moments()
    assert moments.n_tokens == N
    assert_array_equal(moments.count, (dense != 0).sum(0))
    assert_allclose(moments.sum, dense.sum(0), atol=1e-12)
    assert_allclose(moments.sum_sq, (dense**2).sum(0), rtol=1e-13)
    largest = np.where(dense != 0, dense, -np.inf).max(0)
    assert_array_equal(moments.max, np.where(moments.count > 0, largest, 0).astype(np.float32))
    assert_allclose(moments.density, (dense != 0).mean(0))


def test_max_is_negative_where_a_neuron_fires_only_below_zero(tmp_path: Path) -> None:
    with write(tmp_path / "a.h5", sparse.csr_matrix(np.array([[-2.0, 0], [-1, 0]], np.float32))) as store:
        assert_array_equal(store.moments().max, [-1, 0])


def test_tokens_and_kinds(store: FeatureStore) -> None:
    columns = token_columns(N)
    tokens = store.tokens
    for name in ("token", "document", "position"):
        assert getattr(tokens, name).dtype == np.int32
        assert_array_equal(getattr(tokens, name), columns[name])
    assert tokens.kinds == tuple(KINDS)
    assert tokens.kind.dtype == np.int16
    assert_array_equal(tokens.kind_names, columns["kind"])
    assert len(tokens) == N


def test_documents_are_implied_when_none_are_given(store: FeatureStore) -> None:
    n_documents = -(-N // 14)
    documents = store.documents
    assert documents.id == documents.group == tuple(str(i) for i in range(n_documents))
    assert documents.kind == tuple(KINDS[i % 3] for i in range(n_documents))
    assert set(documents.split) == {"report"}


def test_documents_that_are_given_come_back(tmp_path: Path) -> None:
    table = DocumentTable(("ä\n\t😀", "", "x" * 4096), ("k",) * 3, ("g", "g", "h"), ("train", "choose", "report"))
    made = FeatureStore.create(tmp_path / "a.h5", 2, {}, table)
    made.append(sparse.csr_matrix([[1.0, 0]]), token=[7], document=[2], position=[1], kind=["k"])
    with made.finish() as store:
        assert store.documents == table
        store.verify()


def test_many_documents_are_deflated_and_come_back(tmp_path: Path) -> None:
    ids = tuple(f"document {i}" for i in range(20_000))
    table = DocumentTable(ids, ("k",) * 20_000, ids, ("train",) * 20_000)
    with FeatureStore.create(tmp_path / "a.h5", 2, {}, table).finish() as store:
        assert store.documents == table
    assert (tmp_path / "a.h5").stat().st_size < 400_000


def test_provenance_is_json_with_sorted_keys(tmp_path: Path) -> None:
    given = {"site": "mlp", "model": {"name": "ü\0", "hash": "00"}, "seeds": [1, 2], "none": None}
    with FeatureStore.create(tmp_path / "a.h5", 1, given).finish() as store:
        assert store.provenance == given
        assert store._file["provenance"].asstr()[()].index('"model"') < store._file["provenance"].asstr()[()].index(
            '"site"'
        )


def test_dictionary(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(12, 5)).astype(np.float32) for name in ("decoder", "encoder")}
    with write(tmp_path / "a.h5", activations(20), dictionary=Dictionary(**weights, bias=np.arange(12))) as store:
        assert store.dictionary is not None
        assert_array_equal(store.dictionary.decoder, weights["decoder"])
        assert_array_equal(store.dictionary.encoder, weights["encoder"])
        assert_array_equal(store.dictionary.bias, np.arange(12))
        assert store.dictionary.residual is None
    with write(tmp_path / "b.h5", activations(20)) as store:
        assert store.dictionary is None


@pytest.mark.parametrize(("n_tokens", "n_features"), [(0, 4), (1, 1), (1, 4), (3, 70_000)])
def test_small_stores(tmp_path: Path, n_tokens: int, n_features: int) -> None:
    matrix = sparse.random(n_tokens, n_features, 0.5 if n_features < 9 else 1e-4, "csr", np.float32, rng=0)
    with write(tmp_path / "a.h5", matrix) as store:
        store.verify()
        assert_same(store.csr(), matrix)
        assert_same(store.columns(0, n_features), matrix)
        assert_array_equal(store.moments().density, (matrix != 0).toarray().sum(0) / max(1, n_tokens))
        assert len(store.tokens) == n_tokens
        assert len(store.tokens.kind_names) == n_tokens


def test_a_store_without_a_living_feature(tmp_path: Path) -> None:
    with write(tmp_path / "a.h5", sparse.csr_matrix((40, 6), dtype=np.float32)) as store:
        store.verify()
        assert not store.alive.any()
        assert_same(store.csr(), sparse.csr_matrix((40, 6)))
        rows, values = store.feature(2)
        assert (len(rows), len(values)) == (0, 0)


@pytest.mark.parametrize("sizes", [(1 << 22, 1 << 16), (300, 64), (90, 4096)])
def test_contents_do_not_depend_on_batches_buffers_and_chunks(
    tmp_path: Path,
    matrix: sparse.csr_matrix,
    store: FeatureStore,
    monkeypatch: pytest.MonkeyPatch,
    sizes: tuple[int, int],
) -> None:
    monkeypatch.setattr(writer, "BUFFER", sizes[0])
    monkeypatch.setattr(chunks, "CHUNK", sizes[1])
    monkeypatch.setattr(verify, "_ENTRIES", 100)
    monkeypatch.setattr(verify, "_ROWS", 33)
    monkeypatch.setattr(matrix_module, "_ROWS", 33)
    for batch in (1, 37, N):
        with write(tmp_path / f"{batch}.h5", matrix, batch) as other:
            assert other.content_hash() == store.content_hash()
            other.verify()
            assert_same(other.csr(), matrix)
            assert_same(other.columns(0, 12), matrix)
            assert_array_equal(other.moments().sum, store.moments().sum)


def test_content_hash_covers_contents_and_not_provenance(tmp_path: Path, matrix: sparse.csr_matrix) -> None:
    def made(name: str, rows: sparse.csr_matrix, provenance: int = 0, **changed: object) -> tuple[str, str]:
        other = FeatureStore.create(tmp_path / name, 12, {"seed": provenance})
        other.append(rows, **(token_columns(N) | changed))
        with other.finish() as store:
            return store.content_hash(), store.tokens_hash

    content, tokens = made("a.h5", matrix)
    assert made("b.h5", matrix, provenance=1) == (content, tokens)
    doubled = made("c.h5", matrix * 2)
    assert doubled[0] != content
    assert doubled[1] == tokens
    position = token_columns(N)["position"]
    position[-1] += 1
    moved = made("d.h5", matrix, position=position)
    assert content != moved[0]
    assert tokens != moved[1]


def test_tokens_hash_covers_the_document_table(tmp_path: Path) -> None:
    hashes = set()
    for split in ("choose", "report"):
        table = DocumentTable(("a",), ("k",), ("g",), (split,))
        with FeatureStore.create(tmp_path / f"{split}.h5", 1, {}, table).finish() as store:
            hashes.add(store.tokens_hash)
    assert len(hashes) == 2


def test_a_dense_store_of_neurons(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(3000, 64)).astype(np.float32)
    dense[rng.random(dense.shape) > 0.4] = 0
    with write(tmp_path / "a.h5", sparse.csr_matrix(dense), batch=254) as store:
        assert_array_equal(store.csr().toarray(), dense)
        assert_array_equal(store.columns(10, 12).toarray(), dense[:, 10:12])
        store.verify()


def test_two_handles_read_at_once_and_a_pickled_one_opens_again(store: FeatureStore, matrix: sparse.csr_matrix) -> None:
    with FeatureStore.open(store.path) as second, pickle.loads(pickle.dumps(store)) as third:
        assert_same(second.rows(slice(0, 9)), matrix[:9])
        assert_same(third.rows(slice(0, 9)), matrix[:9])
        assert_same(store.rows(slice(0, 9)), matrix[:9])


def test_another_process_reads_without_torch(store: FeatureStore, matrix: sparse.csr_matrix) -> None:
    code = (
        "import sys; from universality import FeatureStore; s = FeatureStore.open(sys.argv[1]); s.verify(); "
        "print(s.csr().nnz, [m for m in ('torch', 'transformer_lens', 'matplotlib', 'networkx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, store.path], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == [str(matrix.nnz), "[]\n"]


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = write(tmp_path / "a.h5", activations(5))
    store.close()
    store.close()
    with pytest.raises(ValueError, match=r"a\.h5: this store is closed; open it again"):
        store.rows(slice(0, 1))
    with pytest.raises(ValueError, match="this store is closed"):
        store.verify()


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such feature store"):
        FeatureStore.open(tmp_path / "a.h5")
    with pytest.raises(FormatError, match="not an HDF5 file"):
        FeatureStore.open(tmp_path)

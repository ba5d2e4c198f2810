"""Nothing contradictory is written, and nothing half-written takes a store's name."""

import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feature_rows import activations, token_columns, write
from numpy.testing import assert_array_equal
from scipy import sparse

from universality.corpus.documents import DocumentTable
from universality.errors import FormatError, MismatchError
from universality.features import Dictionary, FeatureStore, FeatureWriter
from universality.features.storage import chunks
from universality.features.storage import row_batch as batch
from universality.features.storage import row_buffer as buffer
from universality.features.storage import writer as writer_module
from universality.models.unembedding import Unembedding

ROWS = sparse.csr_matrix(np.array([[1.0, 0, 2], [0, 3, 0]], np.float32))
COLUMNS: dict[str, Any] = {"token": [5, 6], "document": [0, 0], "position": [1, 2], "kind": ["en", "en"]}


@pytest.fixture
def writer(tmp_path: Path) -> FeatureWriter:
    return FeatureStore.create(tmp_path / "a.h5", 3, {})


def csr(data: list[float], indices: list[int], indptr: list[int], n_features: int = 3) -> sparse.csr_matrix:
    """A CSR without SciPy's checks."""
    matrix = sparse.csr_matrix((len(indptr) - 1, n_features))
    matrix.data, matrix.indices, matrix.indptr = np.array(data), np.array(indices), np.array(indptr)
    return matrix


BAD_ROWS = {
    "another width": (sparse.csr_matrix((2, 4)), MismatchError, "store has 3 features, but the rows have 4 columns"),
    "dense": (np.zeros((2, 3)), FormatError, "expected a two-dimensional SciPy CSR matrix, found ndarray"),
    "CSC": (ROWS.tocsc(), FormatError, "expected a two-dimensional SciPy CSR matrix, found a SciPy csc array"),
    "NaN": (csr([1, np.nan], [0, 1], [0, 1, 2]), FormatError, "must be finite in float32, found nan at entry 1"),
    "infinite": (csr([-np.inf, 1], [0, 1], [0, 1, 2]), FormatError, "finite in float32, found -inf at entry 0"),
    "too large": (csr([1, 1e39], [0, 1], [0, 1, 2]), FormatError, r"finite in float32, found 1e\+39 at entry 1"),
    "complex": (csr([1j, 1], [0, 1], [0, 1, 2]), FormatError, "must be real numbers, found complex128"),
    "index too large": (csr([1, 1], [0, 3], [0, 1, 2]), FormatError, "row 1 names feature 3, the store has 0 … 2"),
    "index negative": (csr([1, 1], [-1, 2], [0, 1, 2]), FormatError, "row 0 names feature -1"),
    "repeated": (csr([1, 1], [2, 2], [0, 2, 2]), FormatError, "names one feature twice; call csr.sum_duplicates"),
    "repeated, apart": (csr([1, 1, 1], [2, 0, 2], [0, 3, 3]), FormatError, "names one feature twice"),
    "indptr falls": (csr([1, 1], [0, 1], [0, 2, 1]), FormatError, "indptr must rise from 0 to its 2 values"),
    "indptr not from 0": (csr([1, 1], [0, 1], [1, 1, 2]), FormatError, "indptr must rise from 0"),
    "indptr too far": (csr([1, 1], [0, 1], [0, 1, 3]), FormatError, "indptr must rise from 0 to its 2 values"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_rows_are_refused_and_leave_no_trace(writer: FeatureWriter, name: str) -> None:
    rows, error, message = BAD_ROWS[name]
    with writer:
        writer.append(ROWS, **COLUMNS)
        with pytest.raises(error, match=message):
            writer.append(rows, **COLUMNS)
        assert writer.n_tokens == 2
    with FeatureStore.open(writer.path) as store:
        assert_array_equal(store.csr().toarray(), ROWS.toarray())


BAD_COLUMNS = {
    "token too short": (
        {"token": [1]},
        MismatchError,
        r"token needs one entry for each of the 2 rows, found shape \(1,\)",
    ),
    "token of floats": ({"token": [1.0, 2]}, FormatError, "token must be integers, found float64"),
    "token negative": ({"token": [1, -2]}, FormatError, "token must lie in 0 … 2147483647, found -2 … 1"),
    "token too large": ({"token": [1, 2**31]}, FormatError, "token must lie in 0"),
    "document negative": ({"document": [-1, 0]}, FormatError, "document must lie in 0"),
    "document far away": ({"document": [0, 2**20]}, MismatchError, "document 1048576 implies a table of as many rows"),
    "position negative": ({"position": [-1, 0]}, FormatError, "position must lie in 0"),
    "position 2-D": ({"position": [[1, 2]]}, MismatchError, "position needs one entry for each"),
    "kind one text": ({"kind": "en"}, MismatchError, "kind needs one entry for each of the 2 rows"),
    "kind numbers": ({"kind": [1, 2]}, FormatError, "kind must be an array of str, found int64"),
    "kind mixed": ({"kind": np.array(["a", 1], object)}, FormatError, "kind must be an array of str, found object"),
    "kind with NUL": ({"kind": ["a\0b", "a"]}, FormatError, "holds a NUL or a lone surrogate"),
    "kind half a character": ({"kind": ["\ud800", "a"]}, FormatError, "holds a NUL or a lone surrogate"),
    "kind endless": ({"kind": ["a" * 4097, "a"]}, FormatError, "has 4097 characters, 4096 are allowed"),
}


@pytest.mark.parametrize("name", BAD_COLUMNS)
def test_bad_token_columns_are_refused(writer: FeatureWriter, name: str) -> None:
    changed, error, message = BAD_COLUMNS[name]
    with writer:
        with pytest.raises(error, match=message):
            writer.append(ROWS, **(COLUMNS | changed))
        assert writer.n_tokens == 0


def test_zeros_are_dropped_and_rows_sorted_on_append(writer: FeatureWriter) -> None:
    rows = csr([5, 0.0, 7, -0.0, 2, 1e-60], [2, 0, 1, 1, 0, 2], [0, 3, 6])
    writer.append(rows, **COLUMNS)
    with writer.finish() as store:
        assert store.n_stored == 3  # 1e-60 is 0 in float32
        assert_array_equal(store.csr().toarray(), [[0, 7, 5], [2, 0, 0]])
        store.verify()


def test_what_is_appended_is_copied(writer: FeatureWriter) -> None:
    rows, columns = ROWS.copy(), {name: np.array(column) for name, column in COLUMNS.items()}
    writer.append(rows, **columns)
    rows.data[:] = 9
    columns["token"][:] = 9
    with writer.finish() as store:
        assert_array_equal(store.csr().toarray(), ROWS.toarray())
        assert_array_equal(store.tokens.token, [5, 6])


def test_appended_forms(writer: FeatureWriter) -> None:
    """SciPy's arrays, int64 indices, other dtypes, excess storage, no rows at all, objects as kinds."""
    writer.append(sparse.csr_array(ROWS), **COLUMNS)
    writer.append(csr([1, 2, 3], [0, 2, 1], [0, 2, 3]), **COLUMNS)
    writer.append(ROWS.astype(np.int8), **COLUMNS)
    writer.append(csr([1, 2, 3, 4], [0, 2, 1, 1], [0, 2, 3]), **COLUMNS)
    writer.append(ROWS[:0], token=[], document=[], position=[], kind=[])
    writer.append(ROWS, **(COLUMNS | {"kind": np.array(["en", "dna"], object), "token": np.array([1, 2], np.uint8)}))
    with writer.finish() as store:
        assert_array_equal(store.csr().toarray(), np.tile(ROWS.toarray(), (5, 1)))
        assert store.tokens.kinds == ("en", "dna")


def test_a_document_outside_the_table_is_refused(tmp_path: Path) -> None:
    table = DocumentTable(("a",), ("k",), ("g",), ("train",))
    writer = FeatureStore.create(tmp_path / "a.h5", 3, {}, table)
    with writer, pytest.raises(MismatchError, match="document 1 is not in the table of 1 documents"):
        writer.append(ROWS, **(COLUMNS | {"document": [0, 1]}))


@pytest.mark.parametrize("n_features", [0, -3, 2**31, 2.5, "3"])
def test_bad_widths(tmp_path: Path, n_features: Any) -> None:
    with pytest.raises(FormatError, match="n_features must be an integer in 1 … 2147483647, found"):
        FeatureStore.create(tmp_path / "a.h5", n_features, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("provenance", [{"a": np.int64(1)}, {"a": float("nan")}, {"a": {1, 2}}, 3])
def test_provenance_must_be_json(tmp_path: Path, provenance: Any) -> None:
    with pytest.raises(FormatError, match="provenance must be a dict that JSON can hold"):
        FeatureStore.create(tmp_path / "a.h5", 3, provenance)


def test_document_names_that_hdf5_cannot_hold(tmp_path: Path) -> None:
    table = DocumentTable(("a\0",), ("k",), ("g",), ("train",))
    with pytest.raises(FormatError, match=r"the document table: 'a.x00' holds a NUL or a lone surrogate"):
        FeatureStore.create(tmp_path / "a.h5", 3, {}, table)


def test_too_many_kinds(writer: FeatureWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "MAX_KINDS", 1)
    with writer, pytest.raises(FormatError, match="a store holds 1 kinds at most, found 2"):
        writer.append(ROWS, **(COLUMNS | {"kind": ["a", "b"]}))


def test_too_many_tokens(writer: FeatureWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_INT32_MAX", 3)
    with writer:
        writer.append(ROWS, **COLUMNS)
        with pytest.raises(FormatError, match="a store holds 3 tokens at most"):
            writer.append(ROWS, **COLUMNS)


def test_a_dictionary_of_another_width_is_refused_and_the_writer_lives_on(writer: FeatureWriter) -> None:
    writer.append(ROWS, **COLUMNS)
    with pytest.raises(MismatchError, match="the store has 3 features, the dictionary 4 rows"):
        writer.finish(dictionary=Dictionary(np.ones((4, 2))))
    unembedding = Unembedding(np.ones((5, 7)), np.ones(5), np.ones(7, bool), True)
    weights = Dictionary(np.ones((3, 2)), residual=np.ones((3, 4)))
    with pytest.raises(MismatchError, match="reads d_model 5, but the dictionary's residual has 4"):
        writer.finish(weights, unembedding)
    writer.finish().close()


def test_a_finished_writer_takes_no_more(writer: FeatureWriter) -> None:
    writer.append(ROWS, **COLUMNS)
    writer.finish().close()
    with pytest.raises(FormatError, match="this writer is closed; create the store again"):
        writer.append(ROWS, **COLUMNS)
    with pytest.raises(FormatError, match="this writer is closed"):
        writer.finish()
    writer.discard()
    assert writer.path.exists()


def test_nothing_has_the_name_before_finish(writer: FeatureWriter) -> None:
    with writer:
        writer.append(ROWS, **COLUMNS)
        assert not writer.path.exists()
        with pytest.raises(FileNotFoundError, match=r"no such feature store; a\.h5\.unfinished was left by a writer"):
            FeatureStore.open(writer.path)
    assert [path.name for path in writer.path.parent.iterdir()] == ["a.h5"]


def test_an_exception_removes_what_was_written(writer: FeatureWriter) -> None:
    def fail() -> None:
        with writer:
            writer.append(ROWS, **COLUMNS)
            raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        fail()
    assert not list(writer.path.parent.iterdir())


def test_an_existing_store_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path, activations(5)).close()
    with pytest.raises(FileExistsError, match="exists already; pass overwrite=True to replace it"):
        FeatureStore.create(path, 3, {})
    with FeatureStore.open(path) as old:
        with FeatureStore.create(path, 3, {}, overwrite=True) as writer:
            writer.append(ROWS, **COLUMNS)
        assert old.csr().shape == (5, 12)  # whoever reads the old file goes on doing so
    with FeatureStore.open(path) as new:
        assert new.csr().shape == (2, 3)


def test_a_store_that_appeared_meanwhile_is_not_overwritten(writer: FeatureWriter) -> None:
    with writer:
        writer.path.write_text("mine")
        with pytest.raises(FileExistsError, match="exists already"):
            writer.finish()
        writer.path.unlink()


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist; create it first"):
        FeatureStore.create(tmp_path / "nowhere" / "a.h5", 3, {})


def test_two_writers_of_one_name(writer: FeatureWriter) -> None:
    with writer:
        with pytest.raises(FormatError, match="another writer is at work on it"):
            FeatureStore.create(writer.path, 3, {})
        writer.append(ROWS, **COLUMNS)
    with FeatureStore.open(writer.path) as store:
        store.verify()


def test_a_killed_writer_leaves_no_store_and_the_next_one_starts_afresh(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; import numpy as np; from scipy import sparse; from universality import FeatureStore\n"
        "import universality.features.storage.writer as w; w.BUFFER = 100\n"
        "writer = FeatureStore.create(sys.argv[1], 50, {}); n = 4000\n"
        "writer.append(sparse.csr_matrix(np.ones((n, 50))), token=np.zeros(n, int), document=np.zeros(n, int),\n"
        "              position=np.arange(n), kind=['en'] * n)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "a.h5"
    done = subprocess.run([sys.executable, "-c", code, path], check=False, cwd=Path.cwd())
    assert done.returncode == -signal.SIGKILL
    left = {left.name for left in tmp_path.iterdir()}
    assert left == {"a.h5.unfinished", "a.h5.segments", "a.h5.lock"}
    with pytest.raises(FormatError, match=r"truncated or corrupt|its writer was stopped|with a corrupt beginning"):
        FeatureStore.open(tmp_path / "a.h5.unfinished")
    write(path, activations(30)).close()
    assert [left.name for left in tmp_path.iterdir()] == ["a.h5"]


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, sys; import numpy as np; from scipy import sparse; from universality import FeatureStore\n"
        "import universality.features.storage.writer as w; w.BUFFER = 1 << 15; n = 4000\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, 1 << 18))\n"
        "writer = FeatureStore.create(sys.argv[1], 50, {})\n"
        "rows = sparse.csr_matrix(np.random.default_rng(0).random((n, 50)))\n"
        "try:\n"
        "    for _ in range(9): writer.append(rows, token=np.zeros(n, int), document=np.zeros(n, int),\n"
        "                                     position=np.arange(n), kind=['en'] * n)\n"
        "except OSError as error: print('refused', error.errno)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.h5"], check=False, capture_output=True, text=True)
    assert done.stdout == "refused 27\n"
    assert not list(tmp_path.iterdir())


def test_memory_is_bounded_by_the_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three million firings, 24 MB as they are, through a buffer of 131,072."""
    monkeypatch.setattr(writer_module, "BUFFER", 1 << 17)
    monkeypatch.setattr(chunks, "_AHEAD", 2)
    rows = activations(2000, n_features=40, density=0.5)
    columns = token_columns(2000)
    write(tmp_path / "warm.h5", rows).close()  # whatever is loaded once is loaded
    writer = FeatureStore.create(tmp_path / "a.h5", 40, {})
    tracemalloc.start()
    for _ in range(3_000_000 // rows.nnz + 1):
        writer.append(rows, **columns)
    store = writer.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert store.n_stored > 3_000_000
    store.close()
    assert peak < 12e6


@pytest.mark.parametrize("bits", [1, 7, 10, 22])
def test_fewer_bits_are_the_nearest(tmp_path: Path, bits: int) -> None:
    """Against rounding of the fraction in float64, which is exact here; ties go to even."""
    rng = np.random.default_rng(bits)
    values = (rng.normal(size=4000) * 10.0 ** rng.integers(-30, 30, 4000)).astype(np.float32)
    values[:4] = [1 + 2.0 ** -(bits + 1), 1 + 3 * 2.0 ** -(bits + 1), -1 - 2.0 ** -(bits + 1), 2 - 2.0**-23]
    fraction, exponent = np.frexp(values.astype(np.float64))
    expected = np.ldexp(np.rint(fraction * 2.0 ** (bits + 1)), exponent - bits - 1)
    assert_array_equal(batch.rounded(values, bits), expected.astype(np.float32))
    writer = FeatureStore.create(tmp_path / "a.h5", 4000, {}, mantissa_bits=bits)
    writer.append(sparse.csr_matrix(values[None]), token=[1], document=[0], position=[1], kind=["en"])
    with writer.finish() as store:
        assert store.mantissa_bits == bits
        assert_array_equal(store.csr().toarray()[0], expected)
        assert_array_equal(store.moments().sum, expected)
        store.verify()


def test_what_rounds_to_nothing_is_no_firing_and_what_rounds_to_infinity_is_refused(tmp_path: Path) -> None:
    with FeatureStore.create(tmp_path / "a.h5", 3, {}, mantissa_bits=2) as writer:
        writer.append(csr([1e-45, 1, 1], [0, 1, 2], [0, 2, 3]), **COLUMNS)
        with pytest.raises(FormatError, match=r"must be finite in float32, found 3.4028\d* *e\+38 at entry 0"):
            writer.append(csr([3.4028235e38, np.float32(1)], [0, 1], [0, 1, 2]), **COLUMNS)
        with pytest.raises(FormatError, match="found nan at entry 1"):
            writer.append(csr([1, np.nan], [0, 1], [0, 1, 2]), **COLUMNS)
    with FeatureStore.open(tmp_path / "a.h5") as store:
        assert_array_equal(store.csr().toarray(), [[0, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize("bits", [0, 24, -1, "7"])
def test_bad_mantissa_bits(tmp_path: Path, bits: Any) -> None:
    with pytest.raises(FormatError, match="mantissa_bits must be an integer in 1 … 23, found"):
        FeatureStore.create(tmp_path / "a.h5", 3, {}, mantissa_bits=bits)

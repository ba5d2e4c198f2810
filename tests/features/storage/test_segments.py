"""Committed rows are recovered, joined by column, and cut off where a record is truncated."""

import os
from pathlib import Path

import numpy as np
import pytest
from feature_rows import activations
from numpy.testing import assert_array_equal
from scipy import sparse

from universality.errors import MismatchError
from universality.features.storage.segments import Segment, Segments

MATRIX = activations(60)
STORE = {"n_features": 12}


def segment(start: int, stop: int, new_kinds: tuple[str, ...] = ()) -> Segment:
    place = np.arange(start, stop, dtype=np.int32)
    return Segment(MATRIX[start:stop], place, place, place, np.zeros(stop - start, np.int16), new_kinds)


def written(path: Path) -> Segments:
    segments = Segments(path, 12, STORE)
    segments.append(segment(0, 20, ("en",)))
    segments.append(segment(20, 45))
    return segments


def test_segments_are_recovered_as_they_were_committed(tmp_path: Path) -> None:
    written(tmp_path / "a.segments").close()
    later = Segments(tmp_path / "a.segments", 12, STORE)
    recovered = list(later.recover())
    later.close()
    assert [s.new_kinds for s in recovered] == [("en",), ()]
    assert_array_equal(sparse.vstack([s.csr for s in recovered]).toarray(), MATRIX[:45].toarray())
    assert_array_equal(np.concatenate([s.token for s in recovered]), np.arange(45))


def test_a_truncated_record_is_cut_off_and_writing_continues_there(tmp_path: Path) -> None:
    path = tmp_path / "a.segments"
    written(path).close()
    path.write_bytes(path.read_bytes()[:-5])
    later = Segments(path, 12, STORE)
    assert [s.csr.shape[0] for s in later.recover()] == [20]
    later.append(segment(20, 30))
    later.close()
    last = Segments(path, 12, STORE)
    assert [s.csr.shape[0] for s in last.recover()] == [20, 10]
    last.close()


def test_segments_of_another_store_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "a.segments").close()
    other = Segments(tmp_path / "a.segments", 13, {"n_features": 13})
    assert not other.fit()
    with pytest.raises(MismatchError, match=r"begun for another store: n_features 12 \(now 13\)"):
        list(other.recover())
    other.close()


def segment_of(rows: sparse.csr_matrix) -> Segment:
    zeros = np.zeros(rows.shape[0], np.int32)
    return Segment(rows, zeros, zeros, zeros, zeros.astype(np.int16), ())


def test_segments_that_end_early_are_an_error(tmp_path: Path) -> None:
    committed = Segments(tmp_path / "segments", 12, {})
    committed.append(segment(0, 5))
    os.truncate(committed.path, 60)
    with pytest.raises(OSError, match="segments of an unfinished feature store end early; is the disk full"):
        list(committed.columns(MATRIX[:5].getnnz(axis=0).astype(np.int64), 100))
    committed.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize("n_entries", [1, 7, 40, 10**6])
def test_joined_columns_are_scipys(tmp_path: Path, n_entries: int, hold: bool) -> None:
    matrix = activations(60)
    committed = Segments(tmp_path / "segments", 12, {})
    for start in range(0, 60, 13):
        (committed.hold if hold and start == 52 else committed.append)(segment_of(matrix[start : start + 13]))
    parts = list(committed.columns(np.diff(matrix.tocsc().indptr), n_entries))
    committed.close()
    joined = sparse.hstack(parts, format="csc")
    assert joined.has_sorted_indices
    assert_array_equal(joined.toarray(), matrix.toarray())
    assert len(parts) == {1: 12, 10**6: 1}.get(n_entries, len(parts))

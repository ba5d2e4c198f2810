"""Spans on disk are those of the matrix, and pointers or indices that lead outside are refused."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from feature_rows import activations
from numpy.testing import assert_array_equal
from scipy import sparse

from universality.errors import FormatError
from universality.features.storage.sparse_matrix import read_span, row_ranges

MATRIX = activations(40)
PATH = Path("a.h5")


@pytest.fixture
def group(tmp_path: Path):  # type: ignore[no-untyped-def]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ("data", "indices"):
            file[f"by_token/{name}"] = getattr(MATRIX, name)
        file["by_token/indptr"] = MATRIX.indptr.astype(np.int64)
        yield file["by_token"]


@pytest.mark.parametrize(("start", "stop"), [(0, 40), (7, 9), (5, 5), (39, 40)])
def test_a_span_is_that_of_the_matrix(group: h5py.Group, start: int, stop: int) -> None:
    rows = sparse.csr_matrix(read_span(PATH, group, start, stop, 12), shape=(stop - start, 12))
    assert_array_equal(rows.toarray(), MATRIX[start:stop].toarray())


def test_ranges_cover_the_rows_within_the_limit(group: h5py.Group) -> None:
    ranges = list(row_ranges(PATH, group, 40, 12))
    assert [row for start, stop in ranges for row in range(start, stop)] == list(range(40))
    sizes = np.diff(MATRIX.indptr) + 1
    assert all(sizes[start:stop].sum() <= 12 or stop == start + 1 for start, stop in ranges)


def test_what_leads_outside_is_refused(group: h5py.Group) -> None:
    group["indices"][3] = 12
    with pytest.raises(FormatError, match=r"a\.h5: by_token/indices holds \d … 12, expected 0 … 11"):
        read_span(PATH, group, 0, 40, 12)
    group["indptr"][20] = 0
    with pytest.raises(FormatError, match="by_token/indptr must rise from 0 to"):
        read_span(PATH, group, 15, 25, 12)

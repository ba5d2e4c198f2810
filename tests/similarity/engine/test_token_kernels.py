"""The compiled loops against NumPy on a small store."""

from pathlib import Path

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from sparse_sides import sides

from universality.similarity.engine import token_kernels as kernels


def test_a_transposed_copy_holds_the_columns(tmp_path: Path) -> None:
    a, _, x, _ = sides(tmp_path)
    shift = np.zeros(7)
    indptr, position, value = kernels.transpose(*a.take(0, len(x)), shift, 7)
    for feature in range(7):
        part = slice(indptr[feature], indptr[feature + 1])
        assert_array_equal(position[part], np.flatnonzero(x[:, feature]))
        assert_array_equal(value[part], x[x[:, feature] != 0, feature].astype(np.float32))


def test_compact_packs_rows_in_the_order_given(tmp_path: Path) -> None:
    a, _, x, _ = sides(tmp_path)
    rows = a.source.take(np.array([9, 2]))
    start, stop, indices, data = kernels.compact(*rows, np.zeros(7))
    assert start[0] == 0
    assert start[1] == stop[0]
    assert stop[1] == len(data) == np.count_nonzero(x[[9, 2]])
    assert_array_equal(indices[: stop[0]], np.flatnonzero(x[9]))


def test_densify_writes_the_wanted_features_less_their_centre(tmp_path: Path) -> None:
    a, _, x, _ = sides(tmp_path)
    slot = np.full(7, -1, np.int64)
    slot[[5, 0]] = [0, 1]
    out = np.empty((4, 2))
    kernels.densify(*a.take(3, 7), slot, np.array([0.5, 2.0]), out)
    assert_allclose(out, x[3:7][:, [5, 0]] - [0.5, 2.0], rtol=1e-6)

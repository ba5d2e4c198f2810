"""Rows are checked, sorted and rounded before anything is stored."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from universality.errors import FormatError, MismatchError
from universality.features.storage.row_batch import Batch, check_batch, rounded


def batch(csr: sparse.csr_matrix, **changed: object) -> Batch:
    n = csr.shape[0]
    columns = {"token": range(n), "document": [0] * n, "position": [1] * n, "kind": ["k"] * n} | changed
    return check_batch(csr, 3, "here", mantissa_bits=23, **columns)  # type: ignore[arg-type]


def test_rows_are_sorted_and_explicit_zeros_dropped() -> None:
    csr = sparse.csr_matrix((np.array([1.0, 2, 0, 3]), [2, 0, 1, 1], [0, 2, 3, 4]), shape=(3, 3))
    checked = batch(csr)
    assert_array_equal(checked.indices, [0, 2, 1])
    assert_array_equal(checked.data, [2, 1, 3])
    assert_array_equal(checked.lengths, [2, 0, 1])
    assert len(checked) == 3
    assert_array_equal(csr.indices, [2, 0, 1, 1])  # the caller's matrix stays as it is


@pytest.mark.parametrize(
    ("csr", "error", "message"),
    [
        (sparse.csr_matrix((2, 4)), MismatchError, "the store has 3 features, but the rows have 4 columns"),
        (sparse.csc_matrix((2, 3)), FormatError, "expected a two-dimensional SciPy CSR matrix, found a SciPy csc"),
        (
            sparse.csr_matrix((np.ones(2), [1, 1], [0, 2]), shape=(1, 3)),
            FormatError,
            r"a row names one feature twice; call csr\.sum_duplicates",
        ),
        (sparse.csr_matrix([[np.inf, 0, 0]]), FormatError, "must be finite in float32, found inf at entry 0"),
        (sparse.csr_matrix([[1e39, 0, 0]]), FormatError, r"must be finite in float32, found 1e\+39"),
    ],
)
def test_contradictory_rows_are_refused(csr: sparse.csr_matrix, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^here: .*{message}"):
        batch(csr)


def test_columns_must_fit_the_rows() -> None:
    csr = sparse.csr_matrix((2, 3))
    with pytest.raises(MismatchError, match=r"token needs one entry for each of the 2 rows, found shape \(3,\)"):
        batch(csr, token=[1, 2, 3])
    with pytest.raises(FormatError, match="position must be integers, found float64"):
        batch(csr, position=[0.5, 1.0])
    with pytest.raises(FormatError, match="kind must be an array of str, found int64"):
        batch(csr, kind=[1, 2])


def test_rounding_is_to_nearest_and_ties_go_to_even() -> None:
    unit = 2.0**-3  # of three bits of fraction, in [1, 2)
    values = np.array([1 + 0.4 * unit, 1 + 0.5 * unit, 1 + 1.5 * unit, 1.999, -1 - 0.6 * unit], np.float32)
    assert_array_equal(rounded(values, 3), np.array([1, 1, 1 + 2 * unit, 2, -1 - unit], np.float32))
    assert_array_equal(rounded(np.array([np.finfo(np.float32).max]), 3), [np.inf])
    assert rounded(values, 23) is values

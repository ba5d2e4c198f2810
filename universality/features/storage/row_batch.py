"""A batch of rows on its way into a store, checked so that nothing contradictory reaches the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from universality.errors import FormatError, MismatchError
from universality.features.storage.header import MANTISSA

_INT32_MAX = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Batch:
    """Checked copies of the arguments of `FeatureWriter.append`, without explicit zeros.

    Parameters
    ----------
    data, indices
        float32 and int32 [n_stored]: activations and their features, sorted within each row.
    lengths
        int64 [n], stored entries of each row.
    token, document, position
        int32 [n].
    kind
        str [n].
    """

    data: NDArray[np.float32]
    indices: NDArray[np.int32]
    lengths: NDArray[np.int64]
    token: NDArray[np.int32]
    document: NDArray[np.int32]
    position: NDArray[np.int32]
    kind: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.lengths)


def check_batch(
    csr: sparse.csr_matrix,
    n_features: int,
    where: str,
    *,
    mantissa_bits: int,
    token: ArrayLike,
    document: ArrayLike,
    position: ArrayLike,
    kind: ArrayLike,
) -> Batch:
    """Check and copy rows; the errors name ``where``.

    Raises
    ------
    MismatchError
        When widths or lengths do not agree.
    FormatError
        When activations are not finite, indices repeat or are out of range, or numbers are not integers.
    """
    data, indices, lengths = _check_csr(csr, n_features, mantissa_bits, where)
    n = len(lengths)
    return Batch(
        data,
        indices,
        lengths,
        _check_integers("token", token, n, where),
        _check_integers("document", document, n, where),
        _check_integers("position", position, n, where),
        _check_kinds(kind, n, where),
    )


def _check_csr(
    csr: Any, n_features: int, mantissa_bits: int, where: str
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]:
    if not sparse.issparse(csr) or csr.format != "csr" or csr.ndim != 2:
        given = f"a SciPy {csr.format} array" if sparse.issparse(csr) else type(csr).__name__
        raise FormatError(f"{where}: expected a two-dimensional SciPy CSR matrix, found {given}; convert it")
    if csr.shape[1] != n_features:
        raise MismatchError(f"{where}: the store has {n_features} features, but the rows have {csr.shape[1]} columns")
    indptr = np.asarray(csr.indptr)
    _check_indptr(indptr, csr, where)
    lengths = np.diff(indptr).astype(np.int64)
    indices = _check_indices(np.asarray(csr.indices)[: indptr[-1]], indptr, n_features, where)
    data = _check_values(np.asarray(csr.data)[: indptr[-1]], mantissa_bits, where)
    repeated, unsorted = _disorder(indices, indptr)
    if unsorted:
        indices, data = _sorted_rows(indices, data, indptr)
        repeated, _ = _disorder(indices, indptr)
    if repeated:
        raise FormatError(f"{where}: a row names one feature twice; call csr.sum_duplicates() if they are to be added")
    fired = data != 0
    if not fired.all():
        lengths = np.diff(np.concatenate([[0], np.cumsum(fired)])[indptr])
        data, indices = data[fired], indices[fired]
    return data, indices, lengths


def _check_indptr(indptr: NDArray[Any], csr: Any, where: str) -> None:
    if (
        len(indptr) != csr.shape[0] + 1
        or indptr[0] != 0
        or (indptr[1:] < indptr[:-1]).any()
        or not indptr[-1] <= min(len(csr.data), len(csr.indices))
    ):
        raise FormatError(
            f"{where}: the CSR's indptr must rise from 0 to its {len(csr.data)} values, "
            f"with one entry more than its {csr.shape[0]} rows"
        )


def _check_indices(indices: NDArray[Any], indptr: NDArray[Any], n_features: int, where: str) -> NDArray[np.int32]:
    if len(indices) and (indices.min() < 0 or indices.max() >= n_features):
        wrong = int(np.flatnonzero((indices < 0) | (indices >= n_features))[0])
        row = int(np.searchsorted(indptr, wrong, side="right")) - 1
        raise FormatError(f"{where}: row {row} names feature {indices[wrong]}, the store has 0 … {n_features - 1}")
    return indices.astype(np.int32)


def _check_values(values: NDArray[Any], mantissa_bits: int, where: str) -> NDArray[np.float32]:
    if values.dtype.kind not in "fiub":
        raise FormatError(f"{where}: activations must be real numbers, found {values.dtype}")
    with np.errstate(over="ignore"):  # an overflow becomes inf, which is refused below
        data = values.astype(np.float32)
    finite = np.isfinite(data)
    data = rounded(data, mantissa_bits)
    finite &= np.isfinite(data)
    if not finite.all():
        wrong = int(np.flatnonzero(~finite)[0])
        raise FormatError(f"{where}: activations must be finite in float32, found {values[wrong]} at entry {wrong}")
    return data


def rounded(values: NDArray[np.float32], mantissa_bits: int) -> NDArray[np.float32]:
    """Round to the nearest floats with this many bits of fraction, ties to even, or to infinity.

    Stores are rounded when they are written, since fewer bits deflate better. Everything after (moments, hashes, both
    matrices) sees the rounded values, so no two readers disagree.
    """
    if mantissa_bits == MANTISSA:
        return values
    dropped = np.uint32(MANTISSA - mantissa_bits)
    bits = values.view(np.uint32)
    # Half a unit minus one, plus the last kept bit: rounds half to even. A carry out of the fraction raises the
    # exponent, which gives the next float, or infinity beyond the largest.
    odd = (bits >> dropped) & np.uint32(1)
    half = np.uint32((1 << int(dropped)) // 2)
    keep = np.uint32((0xFFFFFFFF << int(dropped)) & 0xFFFFFFFF)
    return ((bits + (half - np.uint32(1)) + odd) & keep).view(np.float32)


def _disorder(indices: NDArray[np.int32], indptr: NDArray[Any]) -> tuple[bool, bool]:
    """True where neighbouring indices within a row are equal anywhere; true where they fall anywhere."""
    step = np.diff(indices)
    starts = indptr[1:-1]
    step[starts[(starts > 0) & (starts < len(indices))] - 1] = 1
    smallest = step.min(initial=1)
    return bool(smallest <= 0 and (step == 0).any()), bool(smallest < 0)


def _sorted_rows(
    indices: NDArray[np.int32], data: NDArray[np.float32], indptr: NDArray[Any]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    row = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    order = np.lexsort((indices, row))
    return indices[order], data[order]


def _check_integers(name: str, given: ArrayLike, n: int, where: str) -> NDArray[np.int32]:
    array = np.asarray(given)
    if array.shape != (n,):
        raise MismatchError(f"{where}: {name} needs one entry for each of the {n} rows, found shape {array.shape}")
    if n == 0:
        return np.empty(0, np.int32)
    if array.dtype.kind not in "iu":
        raise FormatError(f"{where}: {name} must be integers, found {array.dtype}")
    if array.min() < 0 or array.max() > _INT32_MAX:
        raise FormatError(f"{where}: {name} must lie in 0 … {_INT32_MAX}, found {array.min()} … {array.max()}")
    return array.astype(np.int32)


def _check_kinds(given: ArrayLike, n: int, where: str) -> NDArray[np.str_]:
    array = np.asarray(given)
    if array.shape != (n,):
        raise MismatchError(f"{where}: kind needs one entry for each of the {n} rows, found shape {array.shape}")
    if n == 0:
        return np.empty(0, np.str_)
    is_text = array.dtype.kind in "UT" or all(isinstance(kind, str) for kind in array.flat)
    if not is_text:
        raise FormatError(f"{where}: kind must be an array of str, found {array.dtype}")
    return array.astype(np.str_)

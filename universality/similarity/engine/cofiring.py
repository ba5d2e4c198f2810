"""Sums over the tokens where two features both fire: one row of the product AᵀB at a time.

For each feature of A, the rows of B of its tokens are added into one vector over B's features, and the features that
are touched are listed when they are first met (Gustavson 1978, *Two fast algorithms for sparse matrices*). The work is
the number of co-firings, tokens x active², and no array of features x features exists: each stripe of rows becomes a
sparse list.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray, IntArray, runs_within
from universality.compiled import njit
from universality.similarity.engine.store_rows import Rows

AHEAD, LINE = 8, 16  # token rows to fetch together; entries in a cache line
STRIPE = 1 << 20  # pairs in a stripe at most, but for a single row: 12 MB a worker


class Columns(NamedTuple):
    """Feature-major activations: feature f fires on the positions ``position[indptr[f]:indptr[f + 1]]``."""

    indptr: IntArray
    position: npt.NDArray[np.uint32]
    value: npt.NDArray[np.float32]


class Entries(NamedTuple):
    """Some rows of a sparse matrix, with unsorted columns.

    Row r holds ``values[..., indptr[r]:indptr[r + 1]]`` in the same entries of ``cols``; ``values`` is float64 [n] or
    [depth, n].
    """

    indptr: IntArray
    cols: npt.NDArray[np.uint32]
    values: FloatArray

    def row_of(self, rows: IntArray) -> IntArray:
        """[n] the row that each entry belongs to."""
        return np.repeat(rows, np.diff(self.indptr))


@njit(cache=True, nogil=True, error_model="numpy")
def hits(indptr, position, start, stop):  # type: ignore[no-untyped-def]
    """[n_features] number of products that the row of each feature takes."""
    out = np.zeros(indptr.size - 1, np.int64)
    for f in range(out.size):
        for e in range(indptr[f], indptr[f + 1]):
            out[f] += stop[position[e]] - start[position[e]]
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def add_rows(features, columns, tokens, n_hits, total, indptr, cols, values):  # type: ignore[no-untyped-def]
    """Add products for the rows ``features``; ``total`` [n_b] holds zeros before and after.

    A sum of exactly 0 is left out: no product measure distinguishes it from a pair that never fires together.
    """
    n = 0
    for r in range(features.size):
        f = features[r]
        # With more products than columns nearly every column is met: scanning all of them beats listing. The bound on
        # the list follows: at most min(products, columns) entries a row, which is what `sum_rows` allocates.
        if n_hits[f] > total.size:
            cols[n] = _add_often(f, columns, tokens, total)
            for c in range(total.size):
                cols[n] = c
                values[0, n] = total[c]
                n += total[c] != 0
                total[c] = 0.0
        else:
            end = _add_listed(f, columns, tokens, total, cols, n)
            for q in range(n, end):
                c = cols[q]
                cols[n] = c
                values[0, n] = total[c]
                n += total[c] != 0  # listed twice if its sum was 0 in between: the second reading finds 0
                total[c] = 0.0
        indptr[r + 1] = n


@njit(cache=True, nogil=True, error_model="numpy")
def _add_listed(f, columns, tokens, total, cols, n):  # type: ignore[no-untyped-def]
    """Add one row and list its columns from ``cols[n]`` on; return the end of the list.

    A column whose sum returns to exactly 0 is listed again at its next product, so the list is no longer than the
    number of products, but may be longer than the number of columns met.
    """
    a_indptr, position, value = columns
    start, stop, indices, data = tokens
    for first in range(a_indptr[f], a_indptr[f + 1], AHEAD):
        last = min(first + AHEAD, a_indptr[f + 1])
        warm = _touch(position[first:last], tokens)
        for e in range(first, last):
            p = position[e]
            v = np.float64(value[e])
            for k in range(start[p], stop[p]):
                c = indices[k]
                old = total[c]
                total[c] = old + v * data[k]
                cols[n] = c  # overwritten unless this is the first meeting: no branch to mispredict
                n += old == 0
        cols[n] = warm  # overwritten, or after the end: keeps the reads from being optimised away
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def _add_often(f, columns, tokens, total):  # type: ignore[no-untyped-def]
    """Add one row that meets most columns; unrolled by four, as the indices of one token are distinct."""
    a_indptr, position, value = columns
    start, stop, indices, data = tokens
    warm = np.uint32(0)
    for first in range(a_indptr[f], a_indptr[f + 1], AHEAD):
        last = min(first + AHEAD, a_indptr[f + 1])
        warm ^= _touch(position[first:last], tokens)
        for e in range(first, last):
            p = position[e]
            v = np.float64(value[e])
            hit = indices[start[p] : stop[p]]
            w = data[start[p] : stop[p]]
            whole = hit.size - hit.size % 4
            for k in range(0, whole, 4):
                c0, c1, c2, c3 = hit[k], hit[k + 1], hit[k + 2], hit[k + 3]
                x0 = total[c0] + v * w[k]
                x1 = total[c1] + v * w[k + 1]
                x2 = total[c2] + v * w[k + 2]
                x3 = total[c3] + v * w[k + 3]
                total[c0] = x0
                total[c1] = x1
                total[c2] = x2
                total[c3] = x3
            for k in range(whole, hit.size):
                total[hit[k]] += v * w[k]
    return warm


@njit(cache=True, nogil=True, error_model="numpy")
def _touch(positions, tokens):  # type: ignore[no-untyped-def]
    """Read one word of each cache line of some token rows, so that cache misses overlap: twice as fast at 16,384."""
    start, stop, indices, data = tokens
    warm = np.uint32(0)
    for p in positions:
        for k in range(start[p], stop[p], LINE):
            warm ^= indices[k] ^ np.uint32(data[k] > 0)
    return warm


@njit(cache=True, nogil=True, error_model="numpy")
def add_masked_rows(features, columns, tokens, total, indptr, cols, values):  # type: ignore[no-untyped-def]
    """Add (ab, a^2, b^2, 1) for the rows ``features``; ``total`` [n_b, 4] holds zeros before and after."""
    a_indptr, position, value = columns
    start, stop, indices, data = tokens
    n = 0
    for r in range(features.size):
        f = features[r]
        for e in range(a_indptr[f], a_indptr[f + 1]):
            p = position[e]
            v = np.float64(value[e])
            for k in range(start[p], stop[p]):
                c = indices[k]
                w = np.float64(data[k])
                cols[n] = c
                n += total[c, 3] == 0  # a count never returns to 0: every column is listed once
                total[c, 0] += v * w
                total[c, 1] += v * v
                total[c, 2] += w * w
                total[c, 3] += 1.0
        for q in range(indptr[r], n):
            c = cols[q]
            for d in range(4):
                values[d, q] = total[c, d]
                total[c, d] = 0.0
        indptr[r + 1] = n


def stripes(rows: IntArray, n_hits: IntArray, n_cols: int) -> list[IntArray]:
    """Cut ``rows`` into runs of at most `STRIPE` pairs each, by the bound min(products, columns) of a row."""
    return [rows[low:high] for low, high in runs_within(np.minimum(n_hits[rows], n_cols), STRIPE)]


def sum_rows(
    features: IntArray, columns: Columns, tokens: Rows, n_hits: IntArray, n_cols: int, masked: bool
) -> Entries:
    """Rows ``features`` of AᵀB as a sparse list: values [1, n] of products, or [4, n] of (ab, a^2, b^2, 1)."""
    size = int(np.minimum(n_hits[features], n_cols).sum()) + 1  # the loops also write the place after the last entry
    indptr, cols = np.zeros(features.size + 1, np.int64), np.empty(size, np.uint32)
    values = np.empty((4 if masked else 1, size))
    if masked:
        add_masked_rows(features, columns, tokens, np.zeros((n_cols, 4)), indptr, cols, values)
    else:
        add_rows(features, columns, tokens, n_hits, np.zeros(n_cols), indptr, cols, values)
    n = int(indptr[-1])
    return Entries(indptr, cols[:n], values[:, :n])

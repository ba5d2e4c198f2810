"""Sums over the tokens where two features both fire: one row of the product AᵀB at a time.

For each feature of A, the rows of B of its tokens are added into one vector over B's features (Gustavson 1978, *Two
fast algorithms for sparse matrices*). The work is the number of co-firings, tokens x active². The vector stays in a
core's cache, and B's rows, which do not, are fetched ahead (`universality.similarity.engine.cache_lines`). A row of
sums is either added to a dense array or listed; in lists, no array of features x features exists.

Products are added in float64: a sum of n float32 products would lose about log2(n) / 2 of 24 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray, IntArray, runs_within
from universality.compiled import njit
from universality.similarity.engine.cache_lines import ENTRIES, Lines, prefetch

AHEAD = 6  # token rows that are fetched ahead: 4 to 16 measure alike
STRIPE = 1 << 20  # pairs in a stripe at most, but for a single row: 12 MB a worker where they are listed


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


@dataclass(frozen=True, eq=False)
class RowSums:
    """Rows of sums over the tokens where features of A and of B both fire.

    Parameters
    ----------
    columns
        A's activations, by feature.
    lines
        B's activations, by token.
    n_cols
        Features of B.
    masked
        False: sums of products ab. True: four sums, of (ab, a², b², 1).
    """

    columns: Columns
    lines: Lines
    n_cols: int
    masked: bool = False

    def add(self, worker: int, workers: int, rows: IntArray, order: IntArray, out: FloatArray) -> None:
        """Add A's features ``rows`` to ``out`` [n_rows, n_cols], or [n_rows, n_cols, 4] if masked.

        ``order`` assigns the rows to workers in turn (`universality.compiled.on_all_threads`); no row has two.
        """
        own = order[worker::workers]
        add = _add_masked_rows if self.masked else _add_rows
        add(rows[own], own, self.columns, self.lines, out)

    def listed(self, rows: IntArray) -> Entries:
        """List the sums of A's features ``rows`` that are not 0: values [n], or [4, n] if masked."""
        size = int(self.most_entries[rows].sum()) + 1  # the loops also write the place after the last entry
        depth = (4,) if self.masked else ()
        indptr, cols, values = np.zeros(rows.size + 1, np.int64), np.empty(size, np.uint32), np.empty((*depth, size))
        list_rows = _list_masked_rows if self.masked else _list_rows
        list_rows(rows, self.columns, self.lines, np.zeros((self.n_cols, *depth)), indptr, cols, values)
        n = int(indptr[-1])
        return Entries(indptr, cols[:n], values[..., :n])

    def stripes(self, rows: IntArray) -> list[IntArray]:
        """Cut ``rows`` into runs of at most `STRIPE` listed pairs each."""
        return [rows[low:high] for low, high in runs_within(self.most_entries[rows], STRIPE)]

    @cached_property
    def most_entries(self) -> IntArray:
        """[n_rows] bound on the sums of each row that are not 0."""
        longest = ENTRIES * int(np.diff(self.lines.first).max(initial=0))
        return np.minimum(np.diff(self.columns.indptr) * longest, self.n_cols)


@njit(cache=True, nogil=True, error_model="numpy")
def _fetch(e, position, lines):  # type: ignore[no-untyped-def]
    """Ask for the token rows that the entries after ``e`` need: first where they begin, then their lines."""
    first, features, _ = lines
    if e + 2 * AHEAD < position.size:
        prefetch(first, position[e + 2 * AHEAD])
    if e + AHEAD < position.size:
        p = position[e + AHEAD]
        for line in range(first[p], first[p + 1]):
            prefetch(features, line)


@njit(cache=True, nogil=True, error_model="numpy")
def _add(f, columns, lines, total):  # type: ignore[no-untyped-def]
    """Add the products of A's feature ``f`` to ``total`` [n_cols]: the loop that takes most of a match's time."""
    indptr, position, value = columns
    first, features, values = lines
    for e in range(indptr[f], indptr[f + 1]):
        _fetch(e, position, lines)
        p, v = position[e], np.float64(value[e])
        for line in range(first[p], first[p + 1]):
            for k in range(ENTRIES):
                total[features[line, 0, k]] += v * values[line, 1, k]


@njit(cache=True, nogil=True, error_model="numpy")
def _add_masked(f, columns, lines, total):  # type: ignore[no-untyped-def]
    """Add (ab, a², b², 1) of A's feature ``f`` to ``total`` [n_cols, 4]."""
    indptr, position, value = columns
    first, features, values = lines
    for e in range(indptr[f], indptr[f + 1]):
        _fetch(e, position, lines)
        p, v = position[e], np.float64(value[e])
        for line in range(first[p], first[p + 1]):
            for k in range(ENTRIES):
                w = np.float64(values[line, 1, k])
                if w != 0:
                    sums = total[features[line, 0, k]]
                    sums[0] += v * w
                    sums[1] += v * v
                    sums[2] += w * w
                    sums[3] += 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _add_rows(rows, places, columns, lines, out):  # type: ignore[no-untyped-def]
    for f, r in zip(rows, places):  # noqa: B905 - numba has no `strict`
        _add(f, columns, lines, out[r])


@njit(cache=True, nogil=True, error_model="numpy")
def _add_masked_rows(rows, places, columns, lines, out):  # type: ignore[no-untyped-def]
    for f, r in zip(rows, places):  # noqa: B905 - numba has no `strict`
        _add_masked(f, columns, lines, out[r])


@njit(cache=True, nogil=True, error_model="numpy")
def list_row(f, columns, lines, total, cols, values):  # type: ignore[no-untyped-def]
    """List the sums of A's feature ``f``, and return their number; ``total`` [n_cols] holds zeros before and after.

    A sum of exactly 0 is left out: no product measure distinguishes it from a pair that never fires together.
    """
    start, position, _ = columns
    first, features, _ = lines
    _add(f, columns, lines, total)
    n, n_tokens = 0, start[f + 1] - start[f]
    # Walking over the products again takes 2 ns each, a scan over all columns 1.2 ns each.
    if 2 * n_tokens * features.shape[0] * ENTRIES > total.size * (first.size - 1):
        for c in range(total.size):
            cols[n] = c
            values[n] = total[c]
            n += total[c] != 0  # the place is overwritten unless the sum counts: no branch to mispredict
            total[c] = 0.0
        return n
    for e in range(start[f], start[f + 1]):
        p = position[e]
        for line in range(first[p], first[p + 1]):
            for k in range(ENTRIES):
                c = features[line, 0, k]
                cols[n] = c
                values[n] = total[c]
                n += total[c] != 0  # a column that is met again holds 0 by then
                total[c] = 0.0
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def _list_rows(rows, columns, lines, total, indptr, cols, values):  # type: ignore[no-untyped-def]
    for r in range(rows.size):
        n = indptr[r]
        indptr[r + 1] = n + list_row(rows[r], columns, lines, total, cols[n:], values[n:])


@njit(cache=True, nogil=True, error_model="numpy")
def _list_masked_rows(rows, columns, lines, total, indptr, cols, values):  # type: ignore[no-untyped-def]
    """List the four sums of the pairs that fire together; ``total`` [n_cols, 4] holds zeros before and after."""
    start, position, _ = columns
    first, features, _ = lines
    n = 0
    for r in range(rows.size):
        f = rows[r]
        _add_masked(f, columns, lines, total)
        for e in range(start[f], start[f + 1]):
            p = position[e]
            for line in range(first[p], first[p + 1]):
                for k in range(ENTRIES):
                    c = features[line, 0, k]
                    if total[c, 3] != 0:
                        cols[n] = c
                        n += 1
                        for d in range(4):
                            values[d, n - 1] = total[c, d]
                            total[c, d] = 0.0
        indptr[r + 1] = n

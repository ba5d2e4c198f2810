"""The k best partners of every row or column, updated while a matrix passes by in blocks or in lists.

One order everywhere: the larger key first, of equal keys the lower index. A key is the score minus an offset of the
partner (a price, in an assignment; 0 otherwise), and only keys above a row's threshold count.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.compiled import njit, on_all_threads
from universality.similarity.engine.block_source import Best, BlockSource
from universality.similarity.engine.cofiring import Entries


@njit(cache=True, nogil=True, error_model="numpy")
def _insert(index, key, score, c, v, s):  # type: ignore[no-untyped-def]
    """Insert partner ``c`` into one row [k]; the caller knows that it is better than the last."""
    q = key.size - 1
    while q > 0 and (v > key[q - 1] or (v == key[q - 1] and c < index[q - 1])):
        index[q], key[q], score[q] = index[q - 1], key[q - 1], score[q - 1]
        q -= 1
    index[q], key[q], score[q] = c, v, s


@njit(cache=True, nogil=True, error_model="numpy")
def scan_rows(worker, workers, block, rows, offset, threshold, index, key, score):  # type: ignore[no-untyped-def]
    """Enter the better columns of a dense block [n, n_cols] of ``rows`` into the rows' lists; a range of rows each."""
    n = block.shape[0]
    for r in range(worker * n // workers, (worker + 1) * n // workers):
        i = rows[r]
        least = max(threshold[i], key[i, -1])
        for c in range(block.shape[1]):
            v = block[r, c] - offset[c]
            if v > least:  # columns rise, so an equal key has the higher index and stays out
                _insert(index[i], key[i], score[i], c, v, block[r, c])
                least = max(threshold[i], key[i, -1])


@njit(cache=True, nogil=True, error_model="numpy")
def scan_cols(worker, workers, block, rows, index, key, score):  # type: ignore[no-untyped-def]
    """Enter the better rows of a dense block into the columns' lists; ``rows`` rise from call to call.

    A worker has a range of columns: no list has two writers, and rows are read in order.
    """
    n = block.shape[1]
    for r in range(block.shape[0]):
        for c in range(worker * n // workers, (worker + 1) * n // workers):
            v = block[r, c]
            if v > key[c, -1]:
                _insert(index[c], key[c], score[c], rows[r], v, v)


@njit(cache=True, nogil=True, error_model="numpy")
def _list_rows(rows, entries, x, y, orders, level, offset, threshold, index, key, score):  # type: ignore[no-untyped-def]
    """Enter listed entries, then the background of each row from its best score on, into the rows' lists.

    ``orders`` are the living columns by rising y, by falling y, and by index; ``level`` is their least offset.
    """
    indptr, cols, values = entries
    seen = np.zeros(y.size, np.bool_)
    for r in range(rows.size):
        i = rows[r]
        if threshold[i] == np.inf:
            continue
        for q in range(indptr[r], indptr[r + 1]):
            c = cols[q]
            seen[c] = True
            v = values[q] - offset[c]
            last = key[i, -1]
            if v > threshold[i] and (v > last or (v == last and c < index[i, -1])):
                _insert(index[i], key[i], score[i], c, v, values[q])
        # A pair that is not listed scores -x_i y_c. In this order scores only fall.
        order = orders[0] if x[i] > 0 else orders[1] if x[i] < 0 else orders[2]
        for c in order:
            s = -x[i] * y[c] + 0.0  # + 0.0: no negative zero
            # No key from here on exceeds s - level, as no offset is below the level. Below the last key of the list, or
            # not above the threshold, nothing more can enter; at the last key a lower index still could.
            if s - level < key[i, -1] or s - level <= threshold[i]:
                break
            if seen[c]:
                continue
            v = s - offset[c]
            last = key[i, -1]
            if v > threshold[i] and (v > last or (v == last and c < index[i, -1])):
                _insert(index[i], key[i], score[i], c, v, s)
            elif offset[c] == level and v <= last:
                # This column has the least offset and did not enter: later ones have no larger key, and among
                # columns of one y a stable order leaves only higher indices.
                break
        for q in range(indptr[r], indptr[r + 1]):
            seen[cols[q]] = False  # undone entry by entry: clearing the whole array would cost n_cols a row


@njit(cache=True, nogil=True, error_model="numpy")
def _list_cols(rows, entries, dead_rows, index, key, score):  # type: ignore[no-untyped-def]
    """Enter the better rows among the listed entries into the columns' lists; rows rise."""
    indptr, cols, values = entries
    for r in range(rows.size):
        if dead_rows[rows[r]]:
            continue
        for q in range(indptr[r], indptr[r + 1]):
            c = cols[q]
            if values[q] > key[c, -1]:
                _insert(index[c], key[c], score[c], rows[r], values[q], values[q])


@njit(cache=True, nogil=True, error_model="numpy")
def enter_cols(cols, rows, scores, index, key, score):  # type: ignore[no-untyped-def]
    """Enter the better of some entries [n] into the columns' lists; rows rise from call to call."""
    for e in range(cols.size):
        c = cols[e]
        if scores[e] > key[c, -1]:
            _insert(index[c], key[c], score[c], rows[e], scores[e], scores[e])


def best_of_blocks(
    source: BlockSource, k: int, offset: FloatArray, threshold: FloatArray, both: bool
) -> tuple[Best, Best | None]:
    """Find the k best columns of each row, and rows of each column if ``both``, in one pass.

    Parameters
    ----------
    source
        The scores.
    k
        Length of the lists.
    offset
        [n_cols] subtracted from the score in the rows' lists; inf for dead columns.
    threshold
        [n_rows] only keys above it enter the rows' lists; inf for rows that are dead or not wanted, which cost nothing.
    both
        Whether the columns' lists are wanted; their keys are the scores themselves.
    """
    n_rows, n_cols = source.shape
    by_row, by_col = Best.empty(n_rows, k), Best.empty(n_cols, k) if both else None
    wanted_rows = np.flatnonzero(threshold < np.inf)
    for low in range(0, wanted_rows.size, source.rows_per_block):
        rows = wanted_rows[low : low + source.rows_per_block]
        block = source.block(rows)
        on_all_threads(scan_rows, block, rows, offset, threshold, *by_row)
        if by_col is not None:
            on_all_threads(scan_cols, block, rows, *by_col)
    return by_row, None if by_col is None else by_col.without(offset == np.inf)


def best_of_stripes(
    stripes: Iterable[tuple[IntArray, Entries]],
    background: tuple[FloatArray, FloatArray],
    k: int,
    offset: FloatArray,
    threshold: FloatArray,
    by_col: Best | None = None,
) -> Best:
    """Find the k best columns of each row of a matrix that is listed only where features fire together.

    Parameters
    ----------
    stripes
        (rows, scores of their entries), rows rising.
    background
        x, y: pairs that are not listed score -x_i y_j.
    k
        Length of the lists.
    offset
        [n_cols] subtracted from the score; inf for dead columns.
    threshold
        [n_rows] only keys above it count; inf for dead rows.
    by_col
        Lists of the columns, updated with the listed entries alone (offset 0).
    """
    x, y = background
    living = np.flatnonzero(offset < np.inf)
    level = float(offset[living].min()) if living.size else 0.0
    orders = (living[np.argsort(y[living], kind="stable")], living[np.argsort(-y[living], kind="stable")], living)
    by_row, dead = Best.empty(x.size, k), threshold == np.inf
    for rows, entries in stripes:
        _list_rows(rows, entries, x, y, orders, level, offset, threshold, *by_row)
        if by_col is not None:
            _list_cols(rows, entries, dead, *by_col)
    return by_row


def beaten_by_background(by_col: Best, background: tuple[FloatArray, FloatArray], living_rows: BoolArray) -> BoolArray:
    """[n_cols] True where a row that a column never fires with may belong into the column's list."""
    x, y = background
    if not living_rows.any():
        return np.zeros(y.size, bool)
    # The largest background score of a column, -x_i y over the living rows, is reached at the least or the largest x.
    top = np.maximum(-x[living_rows].min() * y, -x[living_rows].max() * y)
    return np.asarray(by_col.key[:, -1] <= top)

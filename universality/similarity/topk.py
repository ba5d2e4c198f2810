"""The k best partners of every row or column, kept up to date while blocks pass by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numba import njit

from universality.similarity.rows import BoolArray, FloatArray, IntArray

TopK: TypeAlias = tuple[IntArray, FloatArray]


@njit(cache=True, error_model="numpy")
def _update(block, first, dead_rows, dead_cols, by_row, index, value):  # type: ignore[no-untyped-def]
    k = index.shape[1]
    for r in range(block.shape[0]):
        if dead_rows[first + r]:
            continue
        for c in range(block.shape[1]):
            v = block[r, c]
            to, partner = (first + r, c) if by_row else (c, first + r)
            if v > value[to, k - 1] and not dead_cols[c]:  # strict: of equal scores the lower index stays
                q = k - 1
                while q > 0 and v > value[to, q - 1]:
                    value[to, q] = value[to, q - 1]
                    index[to, q] = index[to, q - 1]
                    q -= 1
                value[to, q] = v
                index[to, q] = partner


def topk_of_blocks(
    blocks: Iterable[tuple[slice, FloatArray]], k: int, dead_rows: BoolArray, dead_cols: BoolArray
) -> tuple[TopK, TopK]:
    """One pass over a matrix: the k best columns of each row and the k best rows of each column.

    Parameters
    ----------
    blocks
        (rows, scores [n_block, n_cols]) in rising order of rows.
    k
        How many to keep.
    dead_rows, dead_cols
        [n_rows], [n_cols]; neither get nor are partners.

    Returns
    -------
    (index [n_rows, k], score [n_rows, k]) and (index [n_cols, k], score [n_cols, k]); best first, of equal scores
    the lower index first; index -1 with score NaN where there is no further living partner.
    """
    by_row = _empty(dead_rows.size, k)
    by_col = _empty(dead_cols.size, k)
    for rows, block in blocks:
        _update(block, rows.start, dead_rows, dead_cols, True, *by_row)
        _update(block, rows.start, dead_rows, dead_cols, False, *by_col)
    for index, value in (by_row, by_col):
        value[index < 0] = np.nan
    return by_row, by_col


def _empty(n: int, k: int) -> TopK:
    return np.full((n, k), -1, np.int64), np.full((n, k), -np.inf)

"""Best partners of factors: found among float32 products, whose error is bounded, and settled in float64.

A product of d terms in float32 is off by at most (d + 2) u |x| |y| with u = 2^-24 (Higham 2002, *Accuracy and Stability
of Numerical Algorithms*, section 3.1, and the rounding of both factors). A few more partners than wanted are kept;
those are computed in float64. If the last kept one could not, by that bound, have been among the wanted, none that
was dropped could. Rows where it could (ties, duplicates, rank one) are computed in float64 altogether.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numba import get_num_threads

from universality.arrays import FloatArray, IntArray
from universality.progress import progress
from universality.similarity.engine.best_partners import best_of_blocks, scan_cols, scan_rows
from universality.similarity.engine.block_source import Best, BlockSource

UNIT = 2.0**-24
LARGEST = 1e20  # error from which on float32 is not tried: its products might overflow
MORE = 8  # partners kept beyond the wanted ones
TILE_BYTES = 64 << 20


class Product(BlockSource, Protocol):
    """S = x yᵀ with factors x [n_rows, k] and y [n_cols, k]."""

    @property
    def x(self) -> FloatArray:
        """[n_rows, k]."""

    @property
    def y(self) -> FloatArray:
        """[n_cols, k]."""


def screened_best(
    source: Product, k: int, offset: FloatArray, threshold: FloatArray, both: bool
) -> tuple[Best, Best | None]:
    """As `universality.similarity.engine.best_partners.best_of_blocks`, for S = x yᵀ."""
    n_rows, n_cols = source.shape
    error = _error(source, offset, threshold)
    if not error.max(initial=0.0) < LARGEST:
        return best_of_blocks(source, k, offset, threshold, both)
    low_threshold = np.where(np.isfinite(threshold), threshold - error[:n_rows], threshold)
    rough = Best.empty(n_rows, k + MORE, np.float32)
    rough_cols = Best.empty(n_cols, k + MORE, np.float32) if both else None
    wanted = np.flatnonzero(threshold < np.inf)
    x, y = source.x[wanted].astype(np.float32), source.y.astype(np.float32)
    offset32, least = offset.astype(np.float32), low_threshold.astype(np.float32)
    step = max(1, TILE_BYTES // (4 * max(1, n_cols)))
    tile = np.empty((min(step, wanted.size), n_cols), np.float32)
    for low in progress(range(0, wanted.size, step), desc="products", leave=False):
        rows = wanted[low : low + step]
        part = np.matmul(x[low : low + step], y.T, out=tile[: rows.size])
        scan_rows(part, rows, offset32, least, *rough)
        if rough_cols is not None:
            scan_cols(part, rows, get_num_threads(), *rough_cols)
    by_row = _settled(source, rough, k, offset, threshold, error[:n_rows])
    if rough_cols is None:
        return by_row, None
    turned = source.transposed()
    dead_rows, alone = (np.where(array == np.inf, np.inf, low) for array, low in ((threshold, 0.0), (offset, -np.inf)))
    return by_row, _settled(turned, rough_cols.without(offset == np.inf), k, dead_rows, alone, error[n_rows:])


def _error(source: Product, offset: FloatArray, threshold: FloatArray) -> FloatArray:
    """[n_rows + n_cols] how far the float32 key of a row's (column's) partner may be from the true one."""
    norms = [np.linalg.norm(factor, axis=1) for factor in (source.x, source.y)]
    largest = [norm.max(initial=0.0) for norm in norms]
    prices = sum(np.abs(array[np.isfinite(array)]).max(initial=0.0) for array in (offset, threshold))
    terms = source.x.shape[1] + 4
    bound = np.concatenate([norms[0] * largest[1], norms[1] * largest[0]])
    return 1.01 * UNIT * (terms * bound + 4 * prices) + np.finfo(np.float32).tiny


def _settled(
    source: Product, rough: Best, k: int, offset: FloatArray, threshold: FloatArray, error: FloatArray
) -> Best:
    """The k best of each row in float64, from the rough lists where those suffice."""
    n, width = rough.partner.shape
    out, unsure = Best.empty(n, k), np.zeros(n, bool)
    step = max(1, TILE_BYTES // (8 * width))
    for low in range(0, n, step):
        rows = slice(low, low + step)
        index = rough.partner[rows]
        found = index >= 0
        i = np.broadcast_to(np.arange(low, low + len(index))[:, None], index.shape)
        score = np.full(index.shape, np.nan)
        score[found] = source.pairs(i[found], index[found])
        key = np.where(found, score - offset[index], -np.inf)
        key[key <= threshold[rows, None]] = -np.inf
        order = np.lexsort((index, -key), axis=1)[:, :k]
        index, key, score = (np.take_along_axis(array, order, axis=1) for array in (index, key, score))
        dropped = rough.key[rows, -1] + error[rows]
        unsure[rows] = found[:, -1] & (dropped >= np.maximum(key[:, -1], threshold[rows]))
        kept = key > -np.inf
        out.partner[rows], out.key[rows] = np.where(kept, index, -1), key
        out.score[rows] = np.where(kept, score, np.nan)
    _exactly(source, out, np.flatnonzero(unsure), offset, threshold)
    return out


def _exactly(source: Product, out: Best, rows: IntArray, offset: FloatArray, threshold: FloatArray) -> None:
    """Overwrite the lists of some rows from all their scores in float64."""
    step = max(1, TILE_BYTES // (8 * max(1, source.shape[1])))
    for low in range(0, rows.size, step):
        part = rows[low : low + step]
        found = Best.empty(part.size, out.partner.shape[1])
        scan_rows(source.block(part), np.arange(part.size), offset, threshold[part], *found)
        for kept, new in zip(out, found, strict=True):
            kept[part] = new

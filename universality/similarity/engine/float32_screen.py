"""Best partners of factors: candidates from float32 products with bounded error, settled in float64.

A product of d terms in float32 is off by at most (d + 2) u |x| |y| with u = 2^-24 (Higham 2002, *Accuracy and Stability
of Numerical Algorithms*, section 3.1, and the rounding of both factors). The lists hold a few candidates more than
wanted, and all of them are scored in float64. If by that bound the last candidate could not be among the wanted
partners, no pair that was dropped could. Rows where it could (ties, duplicates, rank one) are scored in float64
throughout.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from universality.arrays import FloatArray, IntArray
from universality.compiled import on_all_threads
from universality.progress import progress
from universality.similarity.engine.best_partners import best_of_blocks, scan_cols, scan_rows
from universality.similarity.engine.block_source import Best, BlockSource

UNIT = 2.0**-24
LARGEST = 1e20  # error bound from which on float32 is not tried: its products might overflow
MORE = 8  # candidates beyond the wanted partners: enough that few rows are settled again
TILE_BYTES = 64 << 20  # of float32 products at a time


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
    """Do for S = x yᵀ what `universality.similarity.engine.best_partners.best_of_blocks` does for any matrix."""
    n_rows, n_cols = source.shape
    error = _error(source, offset, threshold)
    if not error.max(initial=0.0) < LARGEST:
        return best_of_blocks(source, k, offset, threshold, both)
    # Lowered by the error, so that no key above the threshold in float64 is missed here.
    low_threshold = np.where(np.isfinite(threshold), threshold - error[:n_rows], threshold)
    rough = Best.empty(n_rows, k + MORE, np.float32)
    rough_cols = Best.empty(n_cols, k + MORE, np.float32) if both else None
    wanted_rows = np.flatnonzero(threshold < np.inf)
    x, y = source.x[wanted_rows].astype(np.float32), source.y.astype(np.float32)
    offset32, least = offset.astype(np.float32), low_threshold.astype(np.float32)
    step = max(1, TILE_BYTES // (4 * max(1, n_cols)))
    tile = np.empty((min(step, wanted_rows.size), n_cols), np.float32)
    for low in progress(range(0, wanted_rows.size, step), desc="products", leave=False):
        rows = wanted_rows[low : low + step]
        part = np.matmul(x[low : low + step], y.T, out=tile[: rows.size])
        on_all_threads(scan_rows, part, rows, offset32, least, *rough)
        if rough_cols is not None:
            on_all_threads(scan_cols, part, rows, *rough_cols)
    by_row = _settled(source, rough, k, offset, threshold, error[:n_rows])
    if rough_cols is None:
        return by_row, None
    turned = source.transposed()
    dead_rows = np.where(threshold == np.inf, np.inf, 0.0)  # offsets and thresholds of the turned matrix
    dead_cols = np.where(offset == np.inf, np.inf, -np.inf)
    return by_row, _settled(turned, rough_cols.without(offset == np.inf), k, dead_rows, dead_cols, error[n_rows:])


def _error(source: Product, offset: FloatArray, threshold: FloatArray) -> FloatArray:
    """[n_rows + n_cols] bound on the error of the float32 keys of each row's (column's) partners.

    The source clips its scores to ±limit and the products here are not clipped. That changes nothing: a limit is set
    where exact scores cannot exceed it, so it removes float64 rounding, which is far below this bound.
    """
    norms = [np.linalg.norm(factor, axis=1) for factor in (source.x, source.y)]
    largest = [norm.max(initial=0.0) for norm in norms]
    prices = sum(np.abs(array[np.isfinite(array)]).max(initial=0.0) for array in (offset, threshold))
    terms = source.x.shape[1] + 4  # d products and sums, the rounding of both factors, and two for the subtraction
    bound = np.concatenate([norms[0] * largest[1], norms[1] * largest[0]])
    # Cauchy-Schwarz: sums of |x_k y_k| are at most |x| |y|. Offset and threshold are rounded to float32 too, once each
    # and once in the difference. 1.01 covers u / (1 - d u) up to d = 160,000, the last term products that underflow.
    return 1.01 * UNIT * (terms * bound + 4 * prices) + np.finfo(np.float32).tiny


def _settled(
    source: Product, rough: Best, k: int, offset: FloatArray, threshold: FloatArray, error: FloatArray
) -> Best:
    """Find the k best of each row in float64, from the rough lists where those suffice."""
    n, width = rough.partner.shape
    out, unsure = Best.empty(n, k), np.zeros(n, bool)
    step = max(1, TILE_BYTES // (8 * width))
    for low in range(0, n, step):
        rows = slice(low, low + step)
        index = rough.partner[rows]
        is_partner = index >= 0
        i = np.broadcast_to(np.arange(low, low + len(index))[:, None], index.shape)
        score = np.full(index.shape, np.nan)
        score[is_partner] = source.pairs(i[is_partner], index[is_partner])
        key = np.where(is_partner, score - offset[index], -np.inf)
        key[key <= threshold[rows, None]] = -np.inf
        order = np.lexsort((index, -key), axis=1)[:, :k]
        index, key, score = (np.take_along_axis(array, order, axis=1) for array in (index, key, score))
        # The largest key that a dropped pair may have. At equality the lower index would decide, so that is unsure too.
        dropped = rough.key[rows, -1] + error[rows]
        unsure[rows] = is_partner[:, -1] & (dropped >= np.maximum(key[:, -1], threshold[rows]))
        is_above = key > -np.inf
        out.partner[rows], out.key[rows] = np.where(is_above, index, -1), key
        out.score[rows] = np.where(is_above, score, np.nan)
    _exactly(source, out, np.flatnonzero(unsure), offset, threshold)
    return out


def _exactly(source: Product, out: Best, rows: IntArray, offset: FloatArray, threshold: FloatArray) -> None:
    """Overwrite the lists of some rows from all their scores in float64."""
    step = max(1, TILE_BYTES // (8 * max(1, source.shape[1])))
    for low in range(0, rows.size, step):
        part = rows[low : low + step]
        exact = Best.empty(part.size, out.partner.shape[1])
        on_all_threads(scan_rows, source.block(part), np.arange(part.size), offset, threshold[part], *exact)
        for column, values in zip(out, exact, strict=True):
            column[part] = values

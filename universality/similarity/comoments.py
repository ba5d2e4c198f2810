"""Co-moments of two stores over the same tokens, for any block of rows.

C = A^T B is a product of feature-major A and token-major B, both sparse. Tokens are visited in chunks small
enough to stay in cache; within a chunk each of A's features adds its tokens' rows of B to one row of C, in
float64, so threads share nothing. Where activations are not sparse (neurons) the chunk is written out dense and
centred, and BLAS multiplies; the measured densities choose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import get_num_threads

from universality.errors import UniversalityError
from universality.similarity import kernels
from universality.similarity.rows import ENTRY_BYTES, FloatArray, IntArray
from universality.similarity.side import Side, chunk_size

DENSE_SHARE = 0.03  # density_a x density_b above which BLAS wins: ~1.5 ns a scattered product, ~30 dense ones in that
TILE_BYTES, MIN_TILE = 16 << 20, 256  # of dense rows multiplied at a time: few calls, and still within a cache


class Columns(NamedTuple):
    """Feature-major activations of the positions low..high; positions count from ``low``."""

    low: int
    high: int
    indptr: IntArray
    position: npt.NDArray[np.uint32]
    value: npt.NDArray[np.float32]


class CoMoments:
    """Sums over positions of products of A's and B's activations, as blocks of A's features.

    Parameters
    ----------
    a, b
        The two sides, equally many positions; position p of one meets position p of the other.
    memory_budget
        Bytes. Blocks are cut from one cached [n_a, n_b] array when that fits, and computed on demand when not;
        A's feature-major copy is kept when that fits.

    Examples
    --------
    ``covariance(rows)`` is the population covariance; ``masked(rows)`` sums over tokens where both fire.
    """

    def __init__(self, a: Side, b: Side, memory_budget: int) -> None:
        if a.rows.size != b.rows.size:
            raise UniversalityError(f"sides must pair up: {a.rows.size} positions of one, {b.rows.size} of the other")
        self.a, self.b, self.memory_budget = a, b, memory_budget
        self.shape = (a.n_features, b.n_features)
        self.dense = a.density * b.density > DENSE_SHARE
        self._columns: dict[bool, list[Columns]] = {}
        self._whole: dict[str, FloatArray] = {}

    def with_b(self, b: Side) -> CoMoments:
        """The same A against another B, sharing A's feature-major copy."""
        other = CoMoments(self.a, b, self.memory_budget)
        if other._chunk() == self._chunk():
            other._columns = self._columns
        return other

    def without_blocks(self) -> CoMoments:
        """The same sides without the cached [n_a, n_b] arrays."""
        return self.with_b(self.b)

    def covariance(self, rows: IntArray) -> FloatArray:
        """Population covariance of A's features ``rows`` with all of B's, float64 [n_rows, n_b]."""
        return self._block("covariance", rows)

    def masked(self, rows: IntArray) -> FloatArray:
        """Sums of (ab, a^2, b^2, 1) over the positions where both fire, float64 [n_rows, 4, n_b].

        That is AᵀB, A²ᵀ1[B≠0], 1[A≠0]ᵀB² and 1[A≠0]ᵀ1[B≠0].
        """
        return self._block("masked", rows)

    def _block(self, kind: str, rows: IntArray) -> FloatArray:
        depth = 1 if kind == "covariance" else 4
        if kind not in self._whole and self.shape[0] * self.shape[1] * depth * 8 <= self.memory_budget:
            self._whole[kind] = self._compute(kind, np.arange(self.shape[0]))
        if kind in self._whole:
            return self._whole[kind][rows]
        return self._compute(kind, rows)

    def _compute(self, kind: str, rows: IntArray) -> FloatArray:
        if kind == "masked":
            return self._masked_dense(rows) if self.dense else self._scatter(rows, shifted=False)
        n = self.a.rows.size
        if self.dense:
            return self._covariance_dense(rows) / n
        out = self._scatter(rows, shifted=True)
        out /= n
        for r, mean in enumerate(self.a.shifted_mean[rows]):  # a row at a time: no second block
            out[r] -= mean * self.b.shifted_mean
        return out

    def _scatter(self, rows: IntArray, shifted: bool) -> FloatArray:
        """Sparse path: products of shifted values, or the four masked sums of raw ones."""
        out = np.zeros((rows.size, *(() if shifted else (4,)), self.shape[1]))
        order = np.argsort(-self.a.count[rows], kind="stable")
        workers = get_num_threads()
        add = kernels.add_products if shifted else kernels.add_masked
        for part in self._column_chunks(shifted):
            tokens = self.b.take(part.low, part.high, shifted)
            add(workers, rows, order, part.indptr, part.position, part.value, *tokens, out)
        return out

    def _column_chunks(self, shifted: bool) -> Iterator[Columns]:
        shifted = shifted and bool(self.a.shift.any())  # without a shift both copies are the same
        if shifted in self._columns:
            yield from self._columns[shifted]
            return
        kept: list[Columns] | None = [] if self.a.n_entries * ENTRY_BYTES <= self.memory_budget else None
        for part in self._transposed(shifted):
            yield part
            if kept is not None:
                kept.append(part)
        if kept is not None:
            self._columns[shifted] = kept

    def _transposed(self, shifted: bool) -> Iterator[Columns]:
        shift = self.a.shift if shifted else np.zeros_like(self.a.shift)
        step, n = self._chunk(), self.a.rows.size
        for low in range(0, n, step):
            high = min(n, low + step)
            part = kernels.transpose(*self.a.take(low, high), shift, self.shape[0])
            yield Columns(low, high, *part)

    def _chunk(self) -> int:
        return chunk_size(self.b.n_entries / max(1, self.b.rows.size))

    def _covariance_dense(self, rows: IntArray) -> FloatArray:
        out = np.zeros((rows.size, self.shape[1]))
        for a, b in self._tiles(rows, centred=True):
            out += a.T @ b
        return out

    def _masked_dense(self, rows: IntArray) -> FloatArray:
        out = np.zeros((rows.size, 4, self.shape[1]))
        for a, b in self._tiles(rows, centred=False):
            fires_a, fires_b = (a != 0).astype(np.float64), (b != 0).astype(np.float64)
            for k, (x, y) in enumerate(((a, b), (a * a, fires_b), (fires_a, b * b), (fires_a, fires_b))):
                out[:, k] += x.T @ y
        return out

    def _tiles(self, rows: IntArray, centred: bool) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Dense float64 [n_tile, n_rows] and [n_tile, n_b], with the means taken off if ``centred``."""
        slot = np.full(self.shape[0], -1, np.int64)
        slot[rows] = np.arange(rows.size)
        every = np.arange(self.shape[1])
        center_a = self.a.mean[rows] if centred else np.zeros(rows.size)
        center_b = self.b.mean if centred else np.zeros(self.shape[1])
        n, step = self.a.rows.size, max(MIN_TILE, TILE_BYTES // (8 * (rows.size + self.shape[1])))
        for low in range(0, n, step):
            high = min(n, low + step)
            a, b = np.empty((high - low, rows.size)), np.empty((high - low, self.shape[1]))
            kernels.densify(*self.a.take(low, high), slot, center_a, a)
            kernels.densify(*self.b.take(low, high), every, center_b, b)
            yield a, b

"""Co-moments of two stores over the same tokens, for any block of rows, in float64.

C = A^T B is a product of feature-major A and token-major B, both sparse. There are three routes, each the fastest
somewhere (`tests/bench/similarity.py`):

- *Listed.* A matrix too large for a cache is computed one row at a time over all tokens
  (`universality.similarity.engine.cofiring`), and best partners are taken from the list of its sums.
- *Chunked.* A small matrix, or one whose stores do not fit into memory, is summed densely. Tokens are visited in
  chunks that stay in cache; within a chunk each of A's features adds its tokens' rows of B to one row of C, so threads
  share nothing.
- *Multiplied.* Where activations are not sparse (neurons), the chunk is written out dense and centred, and BLAS
  multiplies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from universality.arrays import FloatArray, IntArray
from universality.compiled import on_all_threads
from universality.errors import UniversalityError
from universality.execution import SERIAL, Executor, Shared, run_units
from universality.similarity.engine import token_kernels as kernels
from universality.similarity.engine.cache_lines import Lines
from universality.similarity.engine.cofiring import Columns, RowSums
from universality.similarity.engine.group_sums import pair_sums
from universality.similarity.engine.side_moments import SHARD, Side, chunk_size, shards
from universality.similarity.engine.store_rows import ENTRY_BYTES

# Above this product of densities BLAS is faster: a sparse product takes about 1.5 ns, in which BLAS does about 30.
DENSE_SHARE = 0.03
LISTED_ABOVE = 1 << 25  # pairs above which listing row by row is faster: 256 MB, far beyond a cache
# Tokens of a shard, so that sending its sums takes little beside computing them: 16 for each given pair, and one for
# every 16 of all pairs, since a token adds to active² of those.
PAIRED, SUMMED = 16, 16
TILE_BYTES, MIN_TILE = 16 << 20, 256  # of dense rows multiplied at a time: few calls, and still within a cache


MomentType: TypeAlias = Literal["covariance", "products", "masked"]


class Chunk(NamedTuple):
    """Feature-major activations of the positions low..high; positions count from ``low``."""

    low: int
    high: int
    columns: Columns


class CoMoments:
    """Sums over positions of products of A's and B's activations, as blocks of A's features.

    Parameters
    ----------
    a, b
        The two sides, equally many positions; position p of one meets position p of the other.
    memory_budget
        Bytes. Blocks are cut from one cached [n_a, n_b] array when that fits, and computed on demand when not;
        A's feature-major copy is kept when that fits.

    Notes
    -----
    Types of co-moments: "covariance" is the population covariance, "products" the sums of products, "masked" the four
    sums of (ab, a^2, b^2, 1) over the positions where both fire: AᵀB, A²ᵀ1[B≠0], 1[A≠0]ᵀB² and 1[A≠0]ᵀ1[B≠0].
    """

    def __init__(self, a: Side, b: Side, memory_budget: int, dense: bool | None = None) -> None:
        if a.rows.size != b.rows.size:
            raise UniversalityError(f"sides must pair up: {a.rows.size} positions of one, {b.rows.size} of the other")
        self.a, self.b, self.memory_budget = a, b, memory_budget
        self.shape = (a.n_features, b.n_features)
        self.dense = a.density * b.density > DENSE_SHARE if dense is None else dense
        # Rows of B are read in any order, so both stores must be in memory.
        loaded = a.source.whole is not None and b.source.whole is not None
        self.listed = loaded and not self.dense and self.shape[0] * self.shape[1] > LISTED_ABOVE
        """True where rows are computed one at a time and listed."""
        self._columns: dict[tuple[bool, int], list[Chunk]] = {}
        self._whole: dict[str, FloatArray] = {}
        self._lines: dict[bool, Lines] = {}  # all of B's rows, with the shift subtracted or without
        self._shared: Shared[CoMoments] | None = None

    def transposed(self) -> CoMoments:
        """Exchange the sides: B against A, with the arrays that are known already."""
        other = CoMoments(self.b, self.a, self.memory_budget)
        # a copy, so that rows are read in order; the four masked sums would change places
        other._whole = {name: np.ascontiguousarray(whole.T) for name, whole in self._whole.items() if name != "masked"}
        return other

    def with_b(self, b: Side) -> CoMoments:
        """Pair the same A with another B, sharing A's feature-major copy."""
        other = CoMoments(self.a, b, self.memory_budget)
        other._columns = self._columns
        return other

    def without_blocks(self) -> CoMoments:
        """Copy with the same sides but without the cached [n_a, n_b] arrays."""
        return self.with_b(self.b)

    def __getstate__(self) -> dict[str, Any]:
        # Another process computes its own copies and blocks.
        return self.__dict__ | {"_columns": {}, "_whole": {}, "_lines": {}, "_shared": None}

    def fits(self, moment: MomentType) -> bool:
        """Tell whether one [n_a, n_b] array is kept, from which blocks are cut."""
        n_pairs = self.shape[0] * self.shape[1]
        copies = 1 if self.a.rows.size <= max(SHARD, n_pairs // SUMMED) else 2  # the sum, and the shard that is added
        needed = copies * n_pairs * _depth(moment) * 8
        return moment in self._whole or (needed <= self.memory_budget and not self.listed)

    @property
    def shared(self) -> Shared[CoMoments]:
        """These co-moments as units take them: a worker receives them once, for all passes."""
        if self._shared is None:
            self._shared = Shared(self)
        return self._shared

    def block(self, moment: MomentType, rows: IntArray, executor: Executor = SERIAL) -> FloatArray:
        """Values of A's features ``rows`` with all of B's: float64 [n_rows, n_b], or [n_rows, 4, n_b] if masked.

        An executor sums the one array that is kept, by shards of tokens; other blocks are computed here.
        """
        if not self.fits(moment):
            return self._compute(moment, rows)
        if moment not in self._whole:
            self._whole[moment] = self._summed_in_shards(moment, executor)
        return self._whole[moment][rows]

    def pairs(self, moment: MomentType, i: IntArray, j: IntArray, executor: Executor = SERIAL) -> FloatArray:
        """Values of given pairs: float64 [n_pairs], or [4, n_pairs] if masked."""
        units = shards(self.a.rows.size, PAIRED * i.size)
        given = self.shared, Shared((moment, i, j))
        sums = sum(run_units(executor, _pairs_of_shard, units, *given, desc="pairs", total=len(units)))
        if moment == "masked":
            return np.asarray(sums)
        if moment == "products":
            return np.asarray(sums)[0]
        return np.asarray(sums)[0] / self.a.rows.size - self.a.shifted_mean[i] * self.b.shifted_mean[j]

    def columns(self, moment: MomentType) -> Columns:
        """A's activations by feature over all positions, shifted for a covariance; the store must be in memory."""
        (chunk,) = self._column_chunks(moment == "covariance", self.a.rows.size)
        return chunk.columns

    def row_sums(self, moment: MomentType) -> RowSums:
        """Rows of sums over all positions: of shifted products for a covariance, of raw ones otherwise.

        Both stores must be in memory.
        """
        shifted, columns = moment == "covariance", self.columns(moment)
        key = shifted and bool(self.b.shift.any())
        if key not in self._lines:
            self._lines = {key: self._packed(0, self.b.rows.size, shifted)}  # one copy at a time
        return RowSums(columns, self._lines[key], self.shape[1], moment == "masked")

    def centred(self, moment: MomentType, sums: FloatArray, i: IntArray, j: IntArray) -> FloatArray:
        """Turn the sums of pairs, from `row_sums`, into values of the moment, in place."""
        if moment == "covariance":
            sums /= self.a.rows.size
            sums -= self.a.shifted_mean[i] * self.b.shifted_mean[j]
        return sums

    def _compute(self, moment: MomentType, rows: IntArray) -> FloatArray:
        return self._finished(moment, rows, self.sums(moment, rows))

    def _summed_in_shards(self, moment: MomentType, executor: Executor) -> FloatArray:
        """Compute the whole array by shards of tokens."""
        n_a, n_b = self.shape
        units = shards(self.a.rows.size, n_a * n_b // SUMMED)
        given = self.shared, Shared(moment)
        parts = run_units(executor, _sums_of_shard, units, *given, desc="co-moments", total=len(units))
        total: FloatArray = next(parts)
        for part in parts:
            total += part
        return self._finished(moment, np.arange(n_a), total)

    def shard(self, low: int, high: int) -> CoMoments:
        """Co-moments over the positions low..high alone, shifted and centred as over all."""
        if (low, high) == (0, self.a.rows.size):
            return self
        return CoMoments(self.a.shard(low, high), self.b.shard(low, high), self.memory_budget, self.dense)

    def sums(self, moment: MomentType, rows: IntArray) -> FloatArray:
        """Sums over positions for A's features ``rows``: the part of a block that adds up over shards."""
        if not self.dense:
            out = self._summed(rows, moment)
            return np.moveaxis(out, 2, 1) if moment == "masked" else out
        return self._masked_dense(rows) if moment == "masked" else self._products_dense(rows, moment == "covariance")

    def _finished(self, moment: MomentType, rows: IntArray, sums: FloatArray) -> FloatArray:
        """Turn sums over all positions into values, in place."""
        if moment != "covariance":
            return sums
        sums /= self.a.rows.size
        if not self.dense:  # dense tiles are centred before they are multiplied
            for r, mean in enumerate(self.a.shifted_mean[rows]):  # row by row: an outer product would be a second block
                sums[r] -= mean * self.b.shifted_mean
        return sums

    def _summed(self, rows: IntArray, moment: MomentType) -> FloatArray:
        """Sparse path: sums [n_rows, n_b], or [n_rows, n_b, 4], as `row_sums` has them."""
        masked, shifted = moment == "masked", moment == "covariance"
        out = np.zeros((rows.size, self.shape[1], *((4,) if masked else ())))
        order = np.argsort(-self.a.count[rows], kind="stable")  # most expensive rows first: threads end together
        if self.listed:
            on_all_threads(self.row_sums(moment).add, rows, order, out)
            return out
        for part in self._column_chunks(shifted, chunk_size(self.b.n_entries / max(1, self.b.rows.size))):
            lines = self._packed(part.low, part.high, shifted)
            on_all_threads(RowSums(part.columns, lines, self.shape[1], masked).add, rows, order, out)
        return out

    def _packed(self, low: int, high: int, shifted: bool) -> Lines:
        return Lines.pack(self.b.take(low, high), self.b.shift if shifted else np.zeros_like(self.b.shift))

    def _column_chunks(self, shifted: bool, step: int) -> Iterator[Chunk]:
        shifted = shifted and bool(self.a.shift.any())  # without a shift the two copies are equal
        if (shifted, step) in self._columns:
            yield from self._columns[shifted, step]
            return
        chunks: list[Chunk] | None = [] if self.a.n_entries * ENTRY_BYTES <= self.memory_budget else None
        for part in self._transposed(shifted, step):
            yield part
            if chunks is not None:
                chunks.append(part)
        if chunks is not None:
            self._columns.clear()  # one feature-major copy at a time: the budget counts A twice, not thrice
            self._columns[shifted, step] = chunks

    def _transposed(self, shifted: bool, step: int) -> Iterator[Chunk]:
        shift = self.a.shift if shifted else np.zeros_like(self.a.shift)
        n = self.a.rows.size
        for low in range(0, n, step):
            high = min(n, low + step)
            part = kernels.transpose(*self.a.take(low, high), shift, self.shape[0])
            yield Chunk(low, high, Columns(*part))

    def _products_dense(self, rows: IntArray, centred: bool) -> FloatArray:
        out = np.zeros((rows.size, self.shape[1]))
        for a, b in self._tiles(rows, centred):
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
        """Dense float64 [n_tile, n_rows] and [n_tile, n_b], with the means subtracted if ``centred``."""
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


def _depth(moment: MomentType) -> int:
    return 4 if moment == "masked" else 1


def _sums_of_shard(moments: CoMoments, moment: MomentType, low: int, high: int) -> FloatArray:
    return moments.shard(low, high).sums(moment, np.arange(moments.shape[0]))


def _pairs_of_shard(
    moments: CoMoments, given: tuple[MomentType, IntArray, IntArray], low: int, high: int
) -> FloatArray:
    """Sums [1, n_pairs] of products, or [4, n_pairs] if masked."""
    moment, i, j = given
    part = moments.shard(low, high)
    return pair_sums(part.a, part.b, i, j, masked=moment == "masked", shifted=moment == "covariance")[:, 0]

"""One side of a comparison: the chosen token rows of a store, and each feature's moments over them.

Means and variances take two passes (mean, then squared deviations), so a feature whose mean is far above its spread
keeps its digits. A feature that stays near its mean on *every* chosen token (a neuron with an offset) is also shifted
by a float32 near that mean before products are formed: the covariance is the same, and its rounding error is smaller. A
sparse feature needs no shift: silent on a share q of the tokens, its mean is at most sqrt((1 - q) / q) standard
deviations from zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from universality.arrays import BoolArray, FloatArray, IntArray, from_runs, to_runs
from universality.errors import FormatError
from universality.execution import SERIAL, Executor, Shared, run_units
from universality.similarity.engine import token_kernels as kernels
from universality.similarity.engine.store_rows import Rows, StoreRows

CHUNK_BYTES = 4 << 20  # of token rows visited at a time: they stay in a core's cache while all features pass
MIN_CHUNK, MAX_CHUNK = 512, 65_536
SHARD = 1 << 20  # tokens of a unit of work at least: about 5 s of moments with 64 active features
# Tokens of a shard for each feature: some 75 µs of work for each 32 bytes of sums. With fewer, many machines would wait
# for the one that adds up.
MEASURED = 16


@dataclass(frozen=True, eq=False)
class Side:
    """Chosen token rows of one store with the moments of each feature over exactly those rows.

    Parameters
    ----------
    source
        The store's rows.
    rows
        [n_positions] token rows.
    n_entries
        Stored activations among them.
    count
        [n_features] firings: tokens with an activation other than 0.
    mean, variance
        [n_features] over all chosen tokens, silent ones counting as 0; the variance is exact 0 iff constant.
    sum_sq
        [n_features] sum of squares.
    low
        [n_features] least value, 0 for silence included.
    shift, shifted_mean
        [n_features] value subtracted before products are formed, and the mean that remains.
    """

    source: StoreRows
    rows: IntArray
    n_entries: int
    count: IntArray
    mean: FloatArray
    variance: FloatArray
    sum_sq: FloatArray
    low: FloatArray
    shift: FloatArray
    shifted_mean: FloatArray

    @property
    def n_features(self) -> int:
        """Features of the store."""
        return self.source.n_features

    @property
    def density(self) -> float:
        """Share of stored entries among tokens x features."""
        return self.n_entries / max(1, self.rows.size * self.n_features)

    @property
    def constant(self) -> BoolArray:
        """[n_features] True where all chosen tokens hold one value (silent features among them)."""
        return self.variance == 0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"rows": to_runs(self.rows)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"rows": from_runs(*state["rows"])})

    def shard(self, low: int, high: int) -> Side:
        """Positions low..high with the moments of all, which is what sums over them are shifted and centred by."""
        if (low, high) == (0, self.rows.size):
            return self
        share = (high - low) / self.rows.size
        # The number of entries is about right, and decides only how many tokens are read at a time.
        return replace(self, rows=self.rows[low:high], n_entries=round(self.n_entries * share))

    def take(self, low: int, high: int, shifted: bool = False) -> Rows:
        """Token rows of positions low..high; with ``shifted``, a copy with the shift subtracted."""
        rows = self.source.take(self.rows[low:high])
        if not shifted or not self.shift.any():
            return rows
        return Rows(*kernels.compact(*rows, self.shift))


def measure_side(source: StoreRows, rows: IntArray, executor: Executor = SERIAL) -> Side:
    """Measure the moments of the chosen rows of a store, in two passes over shards of them."""
    n, units = source.n_features, shards(rows.size, MEASURED * source.n_features)
    chosen = Shared(_Chosen(source, rows))
    count, total = np.zeros(n, np.int64), np.zeros(n)
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    for firings, summed, least, greatest in run_units(executor, _extent, units, chosen, desc="means", total=len(units)):
        count += firings
        total += summed
        np.minimum(low, least, out=low)
        np.maximum(high, greatest, out=high)
    if not np.isfinite(total).all():
        worst = int(np.flatnonzero(~np.isfinite(total))[0])
        raise FormatError(
            f"{source.store.path}: feature {worst} holds activations that are not finite; expected finite float32. The "
            "file is damaged (universality info --verify), or was written by another program"
        )
    always = count == rows.size  # all others are silent somewhere, so 0 is among their values
    low, high = np.where(always, low, np.minimum(low, 0)), np.where(always, high, np.maximum(high, 0))
    mean = total / rows.size
    shift = _shift(mean, low, high)
    sums, centres = np.zeros((3, n)), Shared((mean, shift))
    for part in run_units(executor, _spread, units, chosen, centres, desc="variances", total=len(units)):
        sums += part
    shifted, centred, square = sums
    variance = (centred + (rows.size - count) * mean**2) / rows.size
    variance[low == high] = 0  # exactly: constant features are dead, and rounding must not revive them
    return Side(source, rows, int(count.sum()), count, mean, variance, square, low, shift, shifted / rows.size)


@dataclass(frozen=True, eq=False)
class _Chosen:
    """Token rows of a store, before their moments are known."""

    source: StoreRows
    rows: IntArray

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"rows": to_runs(self.rows)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"rows": from_runs(*state["rows"])})

    def parts(self, low: int, high: int) -> Iterator[Rows]:
        """Rows of the positions low..high, a few at a time."""
        for first in range(low, high, MAX_CHUNK):
            yield self.source.take(self.rows[first : min(first + MAX_CHUNK, high)])


def _extent(chosen: _Chosen, first: int, last: int) -> tuple[IntArray, FloatArray, FloatArray, FloatArray]:
    """Firings, sum, least and greatest value of each feature in a shard."""
    n = chosen.source.n_features
    count, total, low, high = np.zeros(n, np.int64), np.zeros(n), np.full(n, np.inf), np.full(n, -np.inf)
    for part in chosen.parts(first, last):
        kernels.add_extent(*part, count, total, low, high)
    return count, total, low, high


def _spread(chosen: _Chosen, centres: tuple[FloatArray, FloatArray], first: int, last: int) -> FloatArray:
    """Sums [3, n_features] over the firings of a shard: shifted values, squared deviations, and squares."""
    sums = np.zeros((3, chosen.source.n_features))
    for part in chosen.parts(first, last):
        kernels.add_spread(*part, *centres, *sums)
    return sums


def shards(n_tokens: int, least: int) -> list[tuple[int, int]]:
    """Cut positions into the shards of tokens that units sum over.

    Parameters
    ----------
    n_tokens
        Number of positions.
    least
        Tokens below which reading a shard would cost less than sending its sums.
    """
    step = max(SHARD, least)
    return [(low, min(n_tokens, low + step)) for low in range(0, n_tokens, step)]


def _shift(mean: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Choose a float32 near the mean where all values lie within a factor of two of it, else 0.

    There float32 subtraction is exact (Sterbenz's lemma: x - y is exact for y/2 <= x <= 2y), so the shifted values can
    be stored in float32; elsewhere the spread is not small beside the mean, and a shift would gain nothing.
    """
    near = mean.astype(np.float32).astype(np.float64)
    positive = (low >= near / 2) & (high <= near * 2) & (near > 0)
    negative = (high <= near / 2) & (low >= near * 2) & (near < 0)
    return np.where(positive | negative, near, 0)


def chunk_size(entries_per_token: float) -> int:
    """Number of tokens to visit at a time so that their stored entries fill about ``CHUNK_BYTES``."""
    n_tokens = int(CHUNK_BYTES / (8 * max(entries_per_token, 1)))
    return min(max(n_tokens, MIN_CHUNK), MAX_CHUNK)

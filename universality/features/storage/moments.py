"""Moments of features: sums over firings that do not depend on how the rows were batched.

Each sum adds the firings one after another in float64: two stores of the same rows have the same moments to the last
bit, whatever their batches. (NumPy's pairwise sums would depend on where batches end.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from universality.compiled import njit


@dataclass(frozen=True, eq=False)
class Moments:
    """Per-feature sums over all tokens of a store; a token on which a feature is silent counts as 0.

    Parameters
    ----------
    n_tokens
        Tokens that were seen.
    count
        int64 [n_features], firings: tokens with an activation other than 0.
    sum, sum_sq
        float64 [n_features], sums of activations and of their squares, added in row order.
    max
        float32 [n_features], the largest activation among the firings (negative where a neuron fires only below 0);
        0 for a feature that never fired.
    """

    n_tokens: int
    count: NDArray[np.int64]
    sum: NDArray[np.float64]
    sum_sq: NDArray[np.float64]
    max: NDArray[np.float32]

    @property
    def density(self) -> NDArray[np.float64]:
        """float64 [n_features], the share of tokens on which each feature fires (0 without tokens)."""
        return self.count / max(self.n_tokens, 1)


class MomentSums:
    """Moments of activations that arrive in pieces: `update` with each, then `compute`."""

    def __init__(self, n_features: int) -> None:
        self._count = np.zeros(n_features, np.int64)
        self._sum = np.zeros(n_features)
        self._sum_sq = np.zeros(n_features)
        self._max = np.full(n_features, -np.inf, np.float32)

    def update(self, features: NDArray[np.integer], values: NDArray[np.float32]) -> None:
        """Add firings in row order: ``values[i]`` of ``features[i]``, both [n]; indices must be in range."""
        _add(features, values, self._count, self._sum, self._sum_sq, self._max)

    def compute(self, n_tokens: int) -> Moments:
        """Return the moments of all firings so far, over ``n_tokens`` tokens."""
        largest = np.where(self._count > 0, self._max, np.float32(0))
        return Moments(n_tokens, self._count.copy(), self._sum.copy(), self._sum_sq.copy(), largest)


@njit(cache=True, nogil=True)
def _add(features, values, count, total, total_sq, largest):  # type: ignore[no-untyped-def]
    for i in range(len(features)):
        j = features[i]
        value = np.float64(values[i])
        count[j] += 1
        total[j] += value
        total_sq[j] += value * value
        largest[j] = max(largest[j], values[i])


@njit(cache=True, nogil=True)
def add_placed(features, rows, values, total):  # type: ignore[no-untyped-def]
    """Add ``values[i]`` to ``total[features[i]]`` with a weight in [1, 2) that depends on ``rows[i]``.

    Neighbouring rows have different weights (Fibonacci hashing, Knuth vol. 3, 6.4), so a value that moved to another
    row changes the total. Two matrices are compared by these totals without transposing either.
    """
    for i in range(len(features)):
        bits = (np.uint64(rows[i]) * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
        total[features[i]] += np.float64(values[i]) * (1.0 + np.float64(bits) / 4294967296.0)

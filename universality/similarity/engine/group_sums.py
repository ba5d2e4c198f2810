"""Sums for given pairs of features, over all positions or within groups of documents.

One walk over the tokens: B's row is written into a dense vector, in which A's entries look up their partners. Memory is
groups x pairs, never features x features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray, IntArray
from universality.errors import UniversalityError
from universality.similarity.engine import token_kernels as kernels
from universality.similarity.engine.side_moments import MAX_CHUNK, Side

RELATIVE_ZERO = 1e-13  # a variance below this share of the mean square is rounding: about 900 units of 2^-53


@dataclass(frozen=True, eq=False)
class GroupMoments:
    """Sufficient statistics of Pearson's r per group of documents and pair of features.

    Parameters
    ----------
    groups
        Names, [n_groups]; of documents, in kinds with too few groups (`universality.corpus.units`).
    n
        Tokens: [n_groups], or [n_groups, n_pairs] where each pair counts tokens of its own.
    sum_a, sum_b, sum_aa, sum_bb, sum_ab
        [n_groups, n_pairs] sums over the group's tokens of a - shift_a, b - shift_b, squares and products.
    shift_a, shift_b
        [n_pairs] values subtracted before summing: 0 except for features that fire on every token. r does not depend on
        them.
    """

    groups: tuple[str, ...]
    n: FloatArray
    sum_a: FloatArray
    sum_b: FloatArray
    sum_aa: FloatArray
    sum_bb: FloatArray
    sum_ab: FloatArray
    shift_a: FloatArray
    shift_b: FloatArray

    def pearson(self, weights: npt.ArrayLike | None = None) -> FloatArray:
        """Pearson's r of each pair with every group counted ``weights`` times.

        Parameters
        ----------
        weights
            [n_draws, n_groups], or None for once each.

        Returns
        -------
        float64 [n_draws, n_pairs], or [n_pairs]
            The latter without weights; NaN where a feature does not vary.
        """
        w = np.ones((1, len(self.n))) if weights is None else np.asarray(weights, dtype=np.float64)
        r = _pearson(w @ self._n_by_pair, *(w @ part for part in self._sums))
        return r[0] if weights is None else r

    def without_each(self) -> FloatArray:
        """Pearson's r of each pair with one group left out, float64 [n_groups, n_pairs]; NaN as for `pearson`."""
        remaining = [part.sum(axis=0) - part for part in self._sums]
        for k, squares in ((2, self.sum_aa), (3, self.sum_bb)):
            # Without its only group a feature has nothing left, but the difference of sums leaves rounding.
            remaining[k][remaining[k] <= RELATIVE_ZERO * len(self.n) * squares.sum(axis=0)] = np.nan
        return _pearson(self._n_by_pair.sum(axis=0) - self._n_by_pair, *remaining)

    @property
    def _n_by_pair(self) -> FloatArray:
        return self.n if self.n.ndim == 2 else self.n[:, None]

    @property
    def _sums(self) -> tuple[FloatArray, ...]:
        return self.sum_a, self.sum_b, self.sum_aa, self.sum_bb, self.sum_ab


def _pearson(n: FloatArray, a: FloatArray, b: FloatArray, aa: FloatArray, bb: FloatArray, ab: FloatArray) -> FloatArray:
    """r from the sums over n tokens; NaN where a feature does not vary."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_a, mean_b = a / n, b / n
        spread = np.sqrt(_variance(aa / n, mean_a) * _variance(bb / n, mean_b))
        return np.clip((ab / n - mean_a * mean_b) / spread, -1, 1)


def _variance(mean_square: FloatArray, mean: FloatArray) -> FloatArray:
    variance = mean_square - mean**2
    return np.where(variance > RELATIVE_ZERO * mean_square, variance, np.nan)


def pair_sums(
    a: Side,
    b: Side,
    i: IntArray,
    j: IntArray,
    group: IntArray | None = None,
    n_groups: int = 1,
    masked: bool = False,
    shifted: bool = True,
) -> FloatArray:
    """Sums over positions of the products of A's feature ``i[p]`` and B's ``j[p]``.

    Parameters
    ----------
    a, b
        The two sides.
    i, j
        [n_pairs] features.
    group
        [n_positions] codes below ``n_groups``, or None for one group.
    masked
        False: sums of products, [1, n_groups, n_pairs]. True: of (ab, a^2, b^2, 1) over positions where both
        fire, [4, n_groups, n_pairs].
    shifted
        True for products of shifted values (see `Side.shift`), False for raw ones.
    """
    order = np.argsort(i, kind="stable")
    first = np.searchsorted(i[order], np.arange(a.n_features + 1)).astype(np.int64)
    partner = np.ascontiguousarray(j[order])
    shift_a, shift_b = (s.shift if shifted else np.zeros_like(s.shift) for s in (a, b))
    group = np.zeros(a.rows.size, np.int64) if group is None else group
    out, scratch = np.zeros((4 if masked else 1, n_groups, i.size)), np.zeros(b.n_features)
    for low in range(0, a.rows.size, MAX_CHUNK):
        part = slice(low, min(a.rows.size, low + MAX_CHUNK))
        rows_a, rows_b = a.take(part.start, part.stop), b.take(part.start, part.stop)
        kernels.add_pairs(rows_a, shift_a, rows_b, shift_b, first, partner, group[part], scratch, out)
    unsorted = np.empty_like(out)
    unsorted[:, :, order] = out
    return unsorted


def group_moments(
    a: Side, b: Side, i: IntArray, j: IntArray, group: IntArray, names: tuple[str, ...], memory_budget: int
) -> GroupMoments:
    """Sufficient statistics of Pearson's r per group and pair.

    Parameters
    ----------
    a, b
        The two sides.
    i, j
        [n_pairs] features of A and of B.
    group
        [n_positions] codes into ``names``.
    names
        [n_groups].
    memory_budget
        Bytes that the five [n_groups, n_pairs] arrays may take.

    Raises
    ------
    UniversalityError
        When they would take more.
    """
    needed = 8 * 5 * len(names) * i.size
    if needed > memory_budget:
        fitting = memory_budget // (8 * 5 * len(names))
        raise UniversalityError(
            f"{len(names)} groups x {i.size} pairs take {needed:,} bytes, over the budget of {memory_budget:,}; "
            f"ask for at most {fitting} pairs at a time"
        )
    sum_ab = pair_sums(a, b, i, j, group, len(names))[0]
    sum_a, sum_aa = _side_sums(a, i, group, len(names))
    sum_b, sum_bb = _side_sums(b, j, group, len(names))
    n = np.bincount(group, minlength=len(names)).astype(np.float64)
    return GroupMoments(names, n, sum_a, sum_b, sum_aa, sum_bb, sum_ab, a.shift[i], b.shift[j])


def _side_sums(side: Side, features: IntArray, group: IntArray, n_groups: int) -> tuple[FloatArray, FloatArray]:
    distinct, back = np.unique(features, return_inverse=True)
    slot = np.full(side.n_features, -1, np.int64)
    slot[distinct] = np.arange(distinct.size)
    total, square = np.zeros((n_groups, distinct.size)), np.zeros((n_groups, distinct.size))
    for low in range(0, side.rows.size, MAX_CHUNK):
        high = min(side.rows.size, low + MAX_CHUNK)
        kernels.add_group_sums(*side.take(low, high), slot, side.shift, group[low:high], total, square)
    return total[:, back], square[:, back]

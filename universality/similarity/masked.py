"""Measures of the tokens on which features fire: masked cosine and coverage.

The masked cosine of a splitting edge (Bricken et al. 2023): the larger of the cosine over the tokens where i
fires and the cosine over those where j fires, s(i, j) = (AᵀB)_ij / sqrt(min(|a_i|² X_ij, Y_ij |b_j|²)) with
X = 1[A≠0]ᵀB² and Y = A²ᵀ1[B≠0]; all from one pass over the tokens where both fire.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from universality.errors import UniversalityError
from universality.similarity.groups import pair_sums
from universality.similarity.rows import BoolArray, FloatArray, IntArray
from universality.similarity.side import Side
from universality.similarity.tokens import TokenSource

AB, AA_WHERE_B, BB_WHERE_A, BOTH = range(4)


@dataclass(frozen=True, eq=False)
class MaskedCosine(TokenSource):
    """Masked activation cosine between all features of two stores, from 0 to 1."""

    name: ClassVar[str] = "masked_cosine"
    depth: ClassVar[int] = 4

    def check(self, side: Side) -> None:
        """Refuse negative activations."""
        _check_never_negative(side, self.name)

    def is_dead(self, side: Side) -> BoolArray:
        """True where a feature never fires on the tokens."""
        return side.count == 0

    def block(self, rows: IntArray) -> FloatArray:
        """Cosines [n_rows, n_cols], float64."""
        sums = self.moments.masked(rows)
        return _cosine(np.moveaxis(sums, 1, 0), self.moments.a.sum_sq[rows, None], self.moments.b.sum_sq)

    def pairs(self, i: IntArray, j: IntArray) -> FloatArray:
        """Cosines [n_pairs], float64."""
        a, b = self.moments.a, self.moments.b
        return _cosine(pair_sums(a, b, i, j, masked=True)[:, 0], a.sum_sq[i], b.sum_sq[j])


@dataclass(frozen=True, eq=False)
class Coverage(TokenSource):
    """On how many tokens both features fire, as a number or as a share of one side's firings.

    Parameters
    ----------
    of
        "tokens" for the number, "rows" or "cols" for the share of the row's or the column's firings.
    """

    name: ClassVar[str] = "coverage"
    depth: ClassVar[int] = 4

    of_: str = "tokens"

    def __post_init__(self) -> None:
        if self.of_ not in ("tokens", "rows", "cols"):
            raise UniversalityError(f"coverage of {self.of_!r}: expected 'tokens', 'rows' or 'cols'")

    def check(self, side: Side) -> None:
        """Refuse negative activations."""
        _check_never_negative(side, self.name)

    def is_dead(self, side: Side) -> BoolArray:
        """True where a feature never fires on the tokens."""
        return side.count == 0

    def block(self, rows: IntArray) -> FloatArray:
        """Numbers or shares [n_rows, n_cols], float64."""
        return self._share(self.moments.masked(rows)[:, BOTH], rows[:, None], np.arange(self.shape[1]))

    def pairs(self, i: IntArray, j: IntArray) -> FloatArray:
        """Numbers or shares [n_pairs], float64."""
        return self._share(pair_sums(self.moments.a, self.moments.b, i, j, masked=True)[BOTH, 0], i, j)

    def _share(self, both: FloatArray, i: IntArray, j: IntArray) -> FloatArray:
        if self.of_ == "tokens":
            return both
        count = self.moments.a.count[i] if self.of_ == "rows" else self.moments.b.count[j]
        return both / np.maximum(count, 1)


def _cosine(sums: FloatArray, sum_sq_a: FloatArray, sum_sq_b: FloatArray) -> FloatArray:
    """The larger of the two cosines, from sums [4, ...] and sums of squares that broadcast to them."""
    where_i_fires = sum_sq_a * sums[BB_WHERE_A]
    where_j_fires = sums[AA_WHERE_B] * sum_sq_b
    norm = np.sqrt(np.minimum(where_i_fires, where_j_fires))
    score = np.divide(sums[AB], norm, out=np.zeros_like(norm), where=norm > 0)
    return np.minimum(score, 1, out=score)


def _check_never_negative(side: Side, name: str) -> None:
    if side.n_features and side.low.min() < 0:
        worst = int(side.low.argmin())
        raise UniversalityError(
            f"{side.source.store.path}: feature {worst} reaches {side.low[worst]:.3g}, but {name} similarity needs "
            "activations that are never negative: whether such a feature fires is not defined"
        )

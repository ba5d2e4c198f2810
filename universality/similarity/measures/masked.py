"""Measures of the tokens on which features fire: masked cosine and coverage.

The masked cosine of a splitting edge (Bricken et al. 2023): the larger of the cosine over the tokens where i
fires and the cosine over those where j fires, s(i, j) = (AᵀB)_ij / sqrt(min(|a_i|² X_ij, Y_ij |b_j|²)) with
X = 1[A≠0]ᵀB² and Y = A²ᵀ1[B≠0]; all from one pass over the tokens where both fire.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from universality.arrays import BoolArray, FloatArray
from universality.errors import UniversalityError
from universality.similarity.engine.comoments import MomentType
from universality.similarity.engine.side_moments import Side
from universality.similarity.engine.token_source import Index, TokenSource

AB, AA_WHERE_B, BB_WHERE_A, BOTH = range(4)


@dataclass(frozen=True, eq=False)
class MaskedCosine(TokenSource):
    """Masked activation cosine between all features of two stores, from 0 to 1."""

    name: ClassVar[str] = "masked_cosine"
    needs: ClassVar[MomentType] = "masked"

    def check(self, side: Side) -> None:
        """Raise an error for negative activations."""
        _check_never_negative(side, self.name)

    def is_dead(self, side: Side) -> BoolArray:
        """True where a feature never fires on the tokens."""
        return side.count == 0

    def scores(self, values: FloatArray, i: Index, j: Index) -> FloatArray:
        """The larger of the two cosines."""
        return _cosine(values, self.moments.a.sum_sq[i], self.moments.b.sum_sq[j])


@dataclass(frozen=True, eq=False)
class Coverage(TokenSource):
    """Number of tokens on which both features fire, or its share of one side's firings.

    Parameters
    ----------
    of_
        "tokens" for the number, "rows" or "cols" for the share of the row's or the column's firings.
    """

    name: ClassVar[str] = "coverage"
    needs: ClassVar[MomentType] = "masked"

    of_: str = "tokens"

    def __post_init__(self) -> None:
        if self.of_ not in ("tokens", "rows", "cols"):
            raise UniversalityError(f"coverage of {self.of_!r}: expected 'tokens', 'rows' or 'cols'")

    def check(self, side: Side) -> None:
        """Raise an error for negative activations."""
        _check_never_negative(side, self.name)

    def is_dead(self, side: Side) -> BoolArray:
        """True where a feature never fires on the tokens."""
        return side.count == 0

    def transposed(self) -> Self:
        """Exchange the sides; the share of the row's firings becomes that of the column's."""
        turned = {"rows": "cols", "cols": "rows"}.get(self.of_, self.of_)
        other = super().transposed()
        return other if turned == self.of_ else replace(other, of_=turned)

    def scores(self, values: FloatArray, i: Index, j: Index) -> FloatArray:
        """Take the number, or divide it by the firings of one side."""
        if self.of_ == "tokens":
            return values[BOTH].copy()
        count = self.moments.a.count[i] if self.of_ == "rows" else self.moments.b.count[j]
        return values[BOTH] / np.maximum(count, 1)


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

"""Activation similarity: Pearson's r of two features' activations over the same tokens.

r_ij = (C_ij / n - mu_i nu_j) / (sigma_i tau_j) with C = A^T B, silent tokens counting as 0 (Bricken et al. 2023,
*Towards Monosemanticity*). A feature that does not vary over the tokens is dead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.similarity.engine.comoments import MomentType
from universality.similarity.engine.group_sums import GroupMoments, group_moments
from universality.similarity.engine.side_moments import Side
from universality.similarity.engine.token_source import Index, TokenSource


@dataclass(frozen=True, eq=False)
class ActivationPearson(TokenSource):
    """Pearson's r between all features of two stores."""

    name: ClassVar[str] = "activation"
    needs: ClassVar[MomentType] = "covariance"

    def is_dead(self, side: Side) -> BoolArray:
        """True where a feature holds one value on all tokens, 0 or another."""
        return side.constant

    def scores(self, values: FloatArray, i: Index, j: Index) -> FloatArray:
        """r = covariance / (sigma tau)."""
        out = values * self.inverse_std[0][i]
        out *= self.inverse_std[1][j]
        return np.clip(out, -1, 1, out=out)  # rounding may exceed 1 by a few units in the last place

    def background(self) -> tuple[FloatArray, FloatArray]:
        """mu / sigma and nu / tau: features that never fire together have r = -mu nu / (sigma tau)."""
        a, b = self.moments.a, self.moments.b
        return a.shifted_mean * self.inverse_std[0], b.shifted_mean * self.inverse_std[1]

    def scales(self) -> tuple[FloatArray, FloatArray]:
        """1 / (n sigma) and 1 / tau."""
        return self.inverse_std[0] / self.moments.a.rows.size, self.inverse_std[1]

    @cached_property
    def inverse_std(self) -> tuple[FloatArray, FloatArray]:
        """1 / sigma [n_rows] and 1 / tau [n_cols]; 0 where a feature does not vary."""
        return _inverse_root(self.moments.a.variance), _inverse_root(self.moments.b.variance)

    def pairs_by_group(self, i: IntArray, j: IntArray) -> GroupMoments:
        """Sums per group for given pairs, from which r of any resample of groups follows."""
        codes, names = self.group_codes()
        return group_moments(self.moments.a, self.moments.b, i, j, codes, names, self.memory_budget)


@dataclass(frozen=True, eq=False)
class ActivationCosine(TokenSource):
    """Cosine of two features' activations over all tokens: Pearson's r without subtracting the means."""

    name: ClassVar[str] = "cosine"
    needs: ClassVar[MomentType] = "products"

    def is_dead(self, side: Side) -> BoolArray:
        """True where a feature never fires on the tokens."""
        return side.count == 0

    def scores(self, values: FloatArray, i: Index, j: Index) -> FloatArray:
        """(AᵀB) / (|a| |b|)."""
        out = values * self.scales()[0][i]
        out *= self.scales()[1][j]
        return np.clip(out, -1, 1, out=out)

    def scales(self) -> tuple[FloatArray, FloatArray]:
        """1 / |a| and 1 / |b|; 0 where a feature never fires."""
        return _inverse_root(self.moments.a.sum_sq), _inverse_root(self.moments.b.sum_sq)


def _inverse_root(square: FloatArray) -> FloatArray:
    root = np.sqrt(square)
    return np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)

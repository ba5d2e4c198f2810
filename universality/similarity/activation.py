"""Activation similarity: Pearson's r of two features' activations over the same tokens.

r_ij = (C_ij / n - mu_i nu_j) / (sigma_i tau_j) with C = A^T B, silent tokens counting as 0 (Bricken et al. 2023,
*Towards Monosemanticity*). A feature that does not vary over the tokens is dead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from universality.similarity.groups import GroupMoments, group_moments, pair_sums
from universality.similarity.rows import BoolArray, FloatArray, IntArray
from universality.similarity.side import Side
from universality.similarity.tokens import TokenSource


@dataclass(frozen=True, eq=False)
class ActivationPearson(TokenSource):
    """Pearson's r between all features of two stores."""

    name: ClassVar[str] = "activation"

    def is_dead(self, side: Side) -> BoolArray:
        """True where a feature holds one value on all tokens, 0 or another."""
        return side.constant

    def block(self, rows: IntArray) -> FloatArray:
        """r [n_rows, n_cols], float64."""
        out = self.moments.covariance(rows)
        out *= _inverse_std(self.moments.a)[rows, None]
        out *= _inverse_std(self.moments.b)
        return np.clip(out, -1, 1, out=out)

    def pairs(self, i: IntArray, j: IntArray) -> FloatArray:
        """r [n_pairs], float64."""
        a, b = self.moments.a, self.moments.b
        product = pair_sums(a, b, i, j)[0, 0] / a.rows.size
        covariance = product - a.shifted_mean[i] * b.shifted_mean[j]
        return np.clip(covariance * _inverse_std(a)[i] * _inverse_std(b)[j], -1, 1)

    def pairs_by_group(self, i: IntArray, j: IntArray) -> GroupMoments:
        """Per-group sums for given pairs, from which r of any resample of groups follows."""
        codes, names = self.group_codes()
        return group_moments(self.moments.a, self.moments.b, i, j, codes, names, self.memory_budget)


def _inverse_std(side: Side) -> FloatArray:
    std = np.sqrt(side.variance)
    return np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)

"""Similarity of firing: the tokens on which two features fire, whatever the strength.

With n_i tokens on which i fires, n_j for j, n_ij for both, of N: Jaccard n_ij / (n_i + n_j - n_ij), and phi, which is
Pearson's r of the two indicators, (N n_ij - n_i n_j) / sqrt(n_i (N - n_i) n_j (N - n_j)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.similarity.engine.comoments import MomentType
from universality.similarity.engine.side_moments import Side
from universality.similarity.engine.store_rows import Rows, Values
from universality.similarity.engine.token_source import Index, TokenSource
from universality.similarity.measures.activation import ActivationPearson

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore


def indicators(rows: Rows, tokens: IntArray) -> Rows:
    """Replace every activation by 1."""
    return rows._replace(data=np.ones_like(rows.data))


@dataclass(frozen=True, eq=False)
class FiringPhi(ActivationPearson):
    """Phi coefficient between all features of two stores."""

    name: ClassVar[str] = "phi"

    @classmethod
    def values(cls, store: FeatureStore, other: FeatureStore) -> Values:
        """Indicators in place of activations."""
        return indicators


@dataclass(frozen=True, eq=False)
class FiringJaccard(TokenSource):
    """Jaccard index between all features of two stores, from 0 to 1."""

    name: ClassVar[str] = "jaccard"
    needs: ClassVar[MomentType] = "products"

    @classmethod
    def values(cls, store: FeatureStore, other: FeatureStore) -> Values:
        """Indicators in place of activations."""
        return indicators

    def is_dead(self, side: Side) -> BoolArray:
        """True where a feature never fires on the tokens."""
        return side.count == 0

    def scores(self, values: FloatArray, i: Index, j: Index) -> FloatArray:
        """Tokens on which both fire over tokens on which either does."""
        either = self.moments.a.count[i] + self.moments.b.count[j] - values
        return np.divide(values, either, out=np.zeros_like(values), where=either > 0)

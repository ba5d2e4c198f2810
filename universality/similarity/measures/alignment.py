"""An orthogonal map between two models' activations, from reconstructions on shared tokens.

Models trained apart hold their activations in bases that differ by about a rotation. Orthogonal Procrustes (Schönemann
1966, *A generalized solution of the orthogonal Procrustes problem*) finds it from the cross-covariance of both on the
same tokens. Two feature stores suffice: the reconstructions f_A W_A and f_B W_B, up to biases that centring removes,
have the cross-covariance W_Aᵀ C W_B. What the dictionaries do not reconstruct does not enter it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray
from universality.errors import UniversalityError
from universality.similarity.engine.store_rows import StoreRows
from universality.similarity.engine.token_selection import select

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

CHUNK = 8192  # tokens reconstructed at a time: two arrays of a few tens of MB


@dataclass(frozen=True, eq=False)
class Alignment:
    """An orthogonal map: x @ rotation takes activations (and decoder rows) of A into B's space.

    Parameters
    ----------
    rotation
        float64 [d_a, d_b] with orthonormal rows or columns, whichever are fewer.
    explained_variance
        Share of the variance of either side's reconstructions that the other's, rotated and scaled, explains.
    provenance
        Record of the stores and tokens that it was computed from, as JSON.
    """

    rotation: FloatArray
    explained_variance: float
    provenance: dict[str, Any]

    def describe(self) -> dict[str, Any]:
        """Record of the alignment for provenance."""
        return {
            "method": "orthogonal Procrustes on reconstructions",
            "explained_variance": self.explained_variance,
        } | self.provenance


def align(
    a: FeatureStore,
    b: FeatureStore,
    documents: npt.ArrayLike | None = None,
    rows: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
) -> Alignment:
    """Find the rotation that takes A's reconstructed activations closest to B's over the same tokens.

    The rotation is fitted: use the documents that choose partners, and score what follows from it on others or beside a
    null that is fitted in the same way.

    Parameters
    ----------
    a, b
        Stores over the same tokens, with dictionaries.
    documents
        Only the tokens of these documents.
    rows
        (rows_a, rows_b): row ``rows_a[p]`` of A is paired with row ``rows_b[p]`` of B; for nulls, as
        `universality.statistics.repaired_rows` draws them.

    Raises
    ------
    UniversalityError
        When a store holds no dictionary, or reconstructions do not vary.
    MismatchError
        When the stores saw different tokens.
    """
    selection = select(a, b, documents, rows)
    decoders = [store.decoder_rows().astype(np.float64) for store in (a, b)]
    sides = [StoreRows.open(store, in_memory=False) for store in (a, b)]
    cross = np.zeros((decoders[0].shape[1], decoders[1].shape[1]))
    totals, squares = [np.zeros(W_dec.shape[1]) for W_dec in decoders], [0.0, 0.0]
    for low in range(0, selection.n, CHUNK):
        chosen = [of_side[low : low + CHUNK] for of_side in (selection.rows_a, selection.rows_b)]
        x, y = (
            side.take(part).csr(side.n_features) @ W_dec
            for side, part, W_dec in zip(sides, chosen, decoders, strict=True)
        )
        cross += x.T @ y
        for i, part in enumerate((x, y)):
            totals[i] += part.sum(axis=0)
            squares[i] += float((part**2).sum())
    cross -= np.outer(*totals) / selection.n
    variances = [square - float(np.sum(total**2)) / selection.n for square, total in zip(squares, totals, strict=True)]
    if min(variances) <= 0:
        raise UniversalityError(f"{a.path} and {b.path}: reconstructions that do not vary cannot be aligned")
    left, singular, right = np.linalg.svd(cross, full_matrices=False)
    explained = float(singular.sum() ** 2 / (variances[0] * variances[1]))
    provenance = {"a": a.content_hash(), "b": b.content_hash(), "tokens": selection.describe()}
    return Alignment(left @ right, explained, provenance)

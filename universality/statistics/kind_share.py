"""Share of a feature's variance that lies between kinds of text (eta squared), over chosen tokens.

With n_k tokens of kind k, n in all, and sums over them of a feature's activations a:

    eta² = (Σ_k (Σ_{t in k} a_t)² / n_k − (Σ_t a_t)² / n) / (Σ_t a_t² − (Σ_t a_t)² / n)

The sums are signed: for neurons, whose activations may be negative, sums of magnitudes give another number. Only the
given tokens count, so that what is decided by it takes nothing from the half that reports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from universality.arrays import FloatArray, IntArray

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore


def between_kinds(store: FeatureStore, rows: IntArray) -> FloatArray:
    """Eta squared of each feature over some token rows, 0 where it is constant on them.

    Parameters
    ----------
    store
        The features, with the kind of each token.
    rows
        [n_positions] distinct token rows.

    Returns
    -------
    float64 [n_features]
        From 0 (as much on every kind) to 1 (kind decides all of it).
    """
    n_kinds = len(store.tokens.kinds)
    code = np.full(store.n_tokens, -1, np.int64)
    code[rows] = np.asarray(store.tokens.kind, np.int64)[rows]
    sums, squares = np.zeros((store.n_features, n_kinds)), np.zeros(store.n_features)
    for low, columns in store.column_blocks():
        n = columns.shape[1]
        feature, kind = np.repeat(np.arange(n), np.diff(columns.indptr)), code[columns.indices]
        inside = kind >= 0
        feature, kind, value = feature[inside], kind[inside], columns.data[inside].astype(np.float64)
        sums[low : low + n] = np.bincount(feature * n_kinds + kind, value, n * n_kinds).reshape(n, n_kinds)
        squares[low : low + n] = np.bincount(feature, value**2, n)
    of_mean = sums.sum(axis=1) ** 2 / max(1, rows.size)
    n_tokens = np.maximum(np.bincount(code[rows], minlength=n_kinds), 1)
    total, between = squares - of_mean, (sums**2 / n_tokens).sum(axis=1) - of_mean
    varies = total > 1e-12 * squares  # below it the difference is rounding
    return np.clip(np.divide(between, total, out=np.zeros_like(total), where=varies), 0, 1)

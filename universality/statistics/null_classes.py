"""Classes of features that are compared with each other's null scores.

What chance gives depends mostly on how often a feature fires, so null scores are pooled over features with similar
firing counts (`stratify`). Under the null within kinds of text it also depends on how strongly a feature is bound to
one kind, so each stratum is cut again (`refine`) by the share of the feature's variance that lies between kinds
(`between_kinds`): any two Hebrew features agree on Hebrew text, however it is re-paired.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from universality.arrays import FloatArray, IntArray

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

MIN_PER_CLASS = 32
"""Features of a class where there are enough. With five replicates that is 160 null scores, so the smallest p is
1/161."""
MAX_REFINED = 4
"""Classes that `refine` cuts a stratum into."""
ROUNDING = 1e-12
"""Variance, as a share of the mean square, below which a difference of the two is rounding."""


@dataclass(frozen=True, eq=False)
class Strata:
    """Features divided into classes of firing counts.

    Parameters
    ----------
    edges
        [n_strata + 1] rising counts; stratum s holds edges[s] <= count < edges[s + 1].
    code
        [n_features] stratum of each feature, -1 for features that fire too rarely.
    """

    edges: FloatArray
    code: IntArray

    @property
    def n(self) -> int:
        """Number of strata."""
        return max(0, self.edges.size - 1)


def stratify(count: IntArray, min_firings: int, n_strata: int, by_kind: bool = False) -> Strata:
    """Divide features at quantiles of their firing counts, at least 32 to a stratum where possible.

    Parameters
    ----------
    count
        [n_features] firings.
    min_firings
        Features that fire less often belong to no stratum.
    n_strata
        Number of strata wanted; fewer result where features are few.
    by_kind
        Whether `refine` will divide every stratum again. Strata are then fewer and larger, so that each of the
        refined classes can still hold 32 features.

    Examples
    --------
    >>> count = np.concatenate([[3], np.repeat([20, 2000], 64)])
    >>> strata = stratify(count, min_firings=10, n_strata=2)
    >>> strata.edges, strata.code[[0, 1, 128]]
    (array([  20., 1010.,   inf]), array([-1,  0,  1]))
    """
    frequent = count >= max(1, min_firings)
    if not frequent.any():
        return Strata(np.zeros(0), np.full(count.size, -1, np.int64))
    classes = int(frequent.sum()) // MIN_PER_CLASS  # the largest number of classes that can be filled
    # The square root shares the classes evenly between the two cuts, by firings and by kind.
    refined = min(MAX_REFINED, max(1, math.isqrt(classes)))
    wanted = max(1, min(n_strata, classes // refined if by_kind else classes))
    edges = np.unique(np.quantile(count[frequent], np.linspace(0, 1, wanted + 1)))
    edges = np.append(edges[:-1], np.inf) if edges.size > 1 else np.array([edges[0], np.inf])
    code = np.searchsorted(edges, count, side="right") - 1
    return Strata(edges, np.where(frequent, code, -1).astype(np.int64))


def refine(strata: Strata, value: FloatArray) -> IntArray:
    """Divide every stratum at quantiles of ``value`` [n_features], into at most ``MAX_REFINED`` classes.

    Returns
    -------
    int64 [n_features]
        Class of each feature, -1 where it belongs to no stratum; classes hold at least 32 features where possible.
    """
    code = np.full(strata.code.size, -1, np.int64)
    n_classes = 0
    for s in range(strata.n):
        inside = np.flatnonzero(strata.code == s)
        if not inside.size:
            continue
        parts = max(1, min(MAX_REFINED, inside.size // MIN_PER_CLASS))
        cuts = np.unique(np.quantile(value[inside], np.linspace(0, 1, parts + 1)[1:-1]))
        code[inside] = n_classes + np.searchsorted(cuts, value[inside], side="right")
        n_classes += cuts.size + 1
    return code


def between_kinds(store: FeatureStore, rows: IntArray) -> FloatArray:
    """Compute eta squared, the share of each feature's variance between kinds of text, over some token rows.

    With n_k tokens of kind k, n in all, and sums over them of a feature's activations a:

        eta² = (Σ_k (Σ_{t in k} a_t)² / n_k − (Σ_t a_t)² / n) / (Σ_t a_t² − (Σ_t a_t)² / n)

    The sums are signed: for neurons, whose activations may be negative, sums of magnitudes give another number. Only
    the given rows count, so that classing features uses nothing of the reporting half.

    Parameters
    ----------
    store
        The features, with the kind of each token.
    rows
        [n_positions] distinct token rows.

    Returns
    -------
    float64 [n_features]
        From 0 (equally active on every kind, or constant) to 1 (determined by the kind).
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
    varies = total > ROUNDING * squares
    return np.clip(np.divide(between, total, out=np.zeros_like(total), where=varies), 0, 1)

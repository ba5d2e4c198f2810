"""Controls of effect agreement: other features of B that fire with A's feature about as often as its partner does.

Features that fire on the same tokens may have similar effects because of those tokens. A random feature of equal
density hardly ever fires together with A's feature, so anything beats it. The controls here are the features of B,
other than the partner, whose number of common firings with A's feature is nearest to the partner's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from universality.arrays import FloatArray, IntArray
from universality.compiled import njit
from universality.statistics.co_firing_effects import MIN_TOKENS, RELATIVE_ZERO
from universality.statistics.effect_firings import CountedTokens, EffectFirings


class Controls(NamedTuple):
    """Controls of one pair."""

    features: IntArray
    """Features of B, those that fire together with A's feature most like the partner first."""
    overlap: FloatArray
    """Their common firings with A's feature, as a share of the partner's."""
    r: FloatArray
    """r of effects per norm between A's feature and each of them, over the tokens where both fire."""


class CoFiringCounts:
    """Numbers of tokens on which a feature of A and each feature of B fire.

    Parameters
    ----------
    b
        Firings of B, which are turned into lists by token once.
    n_tokens
        Number of counted tokens.
    """

    def __init__(self, b: EffectFirings, n_tokens: int) -> None:
        self._n_features = b.n_features
        self._indptr, self._features = _by_token(b.indptr, b.token, n_tokens)

    def of(self, a: EffectFirings, feature: int) -> IntArray:
        """int64 [n_features of B] for one feature of A."""
        return _count_together(a.token[a.entries(feature)], self._indptr, self._features, self._n_features)


def controls_of(
    a: EffectFirings,
    b: EffectFirings,
    row: int,
    col: int,
    tokens: CountedTokens,
    counts: CoFiringCounts,
    wanted: int,
    scratch: FloatArray,
) -> Controls:
    """Find up to ``wanted`` controls of a pair, and their r; only features with `MIN_TOKENS` common firings count.

    ``scratch`` [n_counted] holds NaN before and after.
    """
    together = counts.of(a, row)
    n_partner = int(together[col])
    together[col] = 0
    candidates = np.flatnonzero(together >= MIN_TOKENS)
    distance = np.abs(together[candidates] - n_partner)
    chosen = candidates[np.argsort(distance, kind="stable")[:wanted]]
    token = a.token[a.entries(row)]
    scratch[token] = a.effect[a.entries(row)] / tokens.norm_a[token]
    r = _r_with_each(chosen, b.indptr, b.token, b.effect, tokens.norm_b, scratch)
    scratch[token] = np.nan
    return Controls(chosen, together[chosen] / max(1, n_partner), r)


@njit(cache=True, nogil=True, error_model="numpy")
def _r_with_each(features, indptr, token, effect, norm, other):  # type: ignore[no-untyped-def]
    """Pearson's r of effects per norm with ``other`` [n_tokens], NaN where its feature does not fire."""
    r = np.full(features.size, np.nan)
    for k in range(features.size):
        n = x = y = xx = yy = xy = 0.0
        for p in range(indptr[features[k]], indptr[features[k] + 1]):
            v = other[token[p]]
            if not np.isnan(v):
                w = effect[p] / norm[token[p]]
                n += 1.0
                x += v
                y += w
                xx += v * v
                yy += w * w
                xy += v * w
        spread_x, spread_y = xx - x * x / n, yy - y * y / n
        if spread_x > RELATIVE_ZERO * xx and spread_y > RELATIVE_ZERO * yy:
            r[k] = (xy - x * y / n) / np.sqrt(spread_x * spread_y)
    return r


@njit(cache=True, nogil=True, error_model="numpy")
def _by_token(indptr, token, n_tokens):  # type: ignore[no-untyped-def]
    """Turn feature-major firings into lists of features by token."""
    starts = np.zeros(n_tokens + 1, np.int64)
    for t in token:
        starts[t + 1] += 1
    for t in range(n_tokens):
        starts[t + 1] += starts[t]
    features, cursor = np.empty(token.size, np.uint32), starts[:-1].copy()
    for j in range(indptr.size - 1):
        for p in range(indptr[j], indptr[j + 1]):
            features[cursor[token[p]]] = j
            cursor[token[p]] += 1
    return starts, features


@njit(cache=True, nogil=True, error_model="numpy")
def _count_together(tokens, starts, features, n_features):  # type: ignore[no-untyped-def]
    count = np.zeros(n_features, np.int64)
    for t in tokens:
        for p in range(starts[t], starts[t + 1]):
            count[features[p]] += 1
    return count

"""Controls of effect agreement: other features of B that fire with A's feature about as often as its partner does.

Features that fire on the same tokens may have similar effects because of those tokens. A random feature of equal
density hardly ever fires together with A's feature, so anything beats it. The controls here are the features of B,
other than the partner, whose number of common firings with A's feature is nearest to the partner's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray, IntArray
from universality.compiled import njit
from universality.similarity.engine.cache_lines import Lines
from universality.similarity.engine.cofiring import Columns, RowSums
from universality.similarity.engine.store_rows import Rows
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


NO_CONTROLS = Controls(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))


class ControlFinder:
    """Finds the controls of pairs; threads may share it.

    Parameters
    ----------
    a, b
        Firings of both sides, with their effects.
    tokens
        The tokens that are counted.
    wanted
        Largest number of controls of a pair.
    """

    def __init__(self, a: EffectFirings, b: EffectFirings, tokens: CountedTokens, wanted: int) -> None:
        self._a, self._b, self._tokens, self._wanted = a, b, tokens, wanted
        indptr, features = _by_token(b.indptr, b.token, len(tokens))
        ones = np.ones(max(a.token.size, b.token.size), np.float32)  # products of ones count common firings
        rows = Rows(indptr[:-1], indptr[1:], features, ones)
        lines = Lines.pack(rows, np.zeros(b.n_features))
        self._common_firings = RowSums(Columns(a.indptr, a.token, ones), lines, b.n_features)

    def find(self, rows: IntArray, cols: IntArray) -> list[Controls]:
        """Find the controls of some pairs; only features with `MIN_TOKENS` common firings are any."""
        together = self._common_firings.listed(rows)
        effects = np.zeros(len(self._tokens), np.float32)
        fires = np.zeros(len(self._tokens) // 64 + 1, np.uint64)
        found = []
        for k, (row, col) in enumerate(zip(rows.tolist(), cols.tolist(), strict=True)):
            of_row = slice(*together.indptr[k : k + 2].tolist())
            features, count = together.cols[of_row].astype(np.int64), together.values[of_row]
            n_partner = count[features == col].sum()
            candidate = (count >= MIN_TOKENS) & (features != col)
            features, count = features[candidate], count[candidate]
            chosen = np.lexsort((features, np.abs(count - n_partner)))[: self._wanted]
            r = self._r(row, features[chosen], effects, fires)
            found.append(Controls(features[chosen], count[chosen] / max(1, n_partner), r))
        return found

    def _r(
        self, row: int, features: IntArray, effects: npt.NDArray[np.float32], fires: npt.NDArray[np.uint64]
    ) -> FloatArray:
        """R of effects per norm of A's feature with features of B; the two buffers hold zeros before and after."""
        entries = self._a.entries(row)
        token = self._a.token[entries]
        effects[token] = self._a.effect[entries] / self._tokens.norm_a[token]
        _mark(token, fires)
        b = self._b
        r: FloatArray = _r_with_each(features, b.indptr, b.token, b.effect, self._tokens.norm_b, effects, fires)
        fires[token >> 6] = 0
        return r


@njit(cache=True, nogil=True, error_model="numpy")
def _mark(tokens, fires):  # type: ignore[no-untyped-def]
    for t in tokens:
        fires[t >> 6] |= np.uint64(1) << np.uint64(t & 63)


@njit(cache=True, nogil=True, error_model="numpy")
def _r_with_each(features, indptr, token, effect, norm, other, fires):  # type: ignore[no-untyped-def]
    """Pearson's r of effects per norm with ``other`` [n_tokens], whose feature ``fires`` at the tokens with a bit set.

    The bits of 500,000 tokens take 63 kB, which stay in the cache; most tokens need nothing else.
    """
    r = np.full(features.size, np.nan)
    for k in range(features.size):
        n = x = y = xx = yy = xy = 0.0
        for p in range(indptr[features[k]], indptr[features[k] + 1]):
            t = token[p]
            if (fires[t >> 6] >> np.uint64(t & 63)) & np.uint64(1):
                v = np.float64(other[t])
                w = effect[p] / norm[t]
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

"""Effects of two features on the tokens where both fire, and the numbers that compare them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray, IntArray
from universality.compiled import njit
from universality.statistics.effect_firings import CountedTokens, EffectFirings

MIN_TOKENS = 30
"""Tokens on which both features of a pair must fire: r of fewer says little."""
RELATIVE_ZERO = 1e-12  # a variance below this share of the mean square is rounding


class CoFiring(NamedTuple):
    """Two features on the n tokens where both fire, sorted by segment; see `CountedTokens.segment`."""

    segment: IntArray
    activation_a: FloatArray
    activation_b: FloatArray
    effect_a: FloatArray
    effect_b: FloatArray
    per_norm_a: FloatArray
    """Effect divided by the norm of the gradient, which all features at a token share."""
    per_norm_b: FloatArray

    @property
    def n(self) -> int:
        """Number of tokens."""
        return self.segment.size

    @property
    def r(self) -> float:
        """Pearson's r of the effects."""
        return pearson(self.effect_a, self.effect_b)

    @property
    def r_per_norm(self) -> float:
        """Pearson's r of the effects divided by the norm of the gradient."""
        return pearson(self.per_norm_a, self.per_norm_b)

    def signs(self) -> tuple[float, float]:
        """Share of tokens at which both effects have one sign, and the share that the marginal rates give by chance.

        An effect of 0 counts as a sign of its own.
        """
        signs = np.sign(self.effect_a), np.sign(self.effect_b)
        by_chance = sum(float((signs[0] == s).mean() * (signs[1] == s).mean()) for s in (-1, 0, 1))
        return float((signs[0] == signs[1]).mean()), by_chance

    def unit_sums(self, unit_of_segment: IntArray) -> tuple[IntArray, FloatArray]:
        """Sum (1, a, b, a², b², ab) of the effects per norm within units: units [m] and sums [6, m]."""
        units, code = np.unique(unit_of_segment[self.segment], return_inverse=True)
        a, b = self.per_norm_a, self.per_norm_b
        terms = (np.ones(self.n), a, b, a * a, b * b, a * b)
        return units, np.stack([np.bincount(code, term, units.size) for term in terms])


def co_firing(a: EffectFirings, b: EffectFirings, i: int, j: int, tokens: CountedTokens, sort: bool = True) -> CoFiring:
    """Collect the effects of A's feature i and B's feature j on the tokens where both fire."""
    in_a, in_b = a.entries(i), b.entries(j)
    entry_a, entry_b = common_entries(a.token[in_a], b.token[in_b])
    token = a.token[in_a][entry_a]
    if sort:
        order = np.argsort(tokens.segment[token], kind="stable")
        entry_a, entry_b, token = entry_a[order], entry_b[order], token[order]
    f_a, f_b, e_a, e_b = (
        part[entries][where].astype(np.float64)
        for part, entries, where in (
            (a.activation, in_a, entry_a), (b.activation, in_b, entry_b), (a.effect, in_a, entry_a),
            (b.effect, in_b, entry_b),
        )
    )  # fmt: skip
    return CoFiring(tokens.segment[token], f_a, f_b, e_a, e_b, e_a / tokens.norm_a[token], e_b / tokens.norm_b[token])


def common_entries(a: npt.NDArray[np.uint32], b: npt.NDArray[np.uint32]) -> tuple[IntArray, IntArray]:
    """Find where two rising arrays hold the same tokens: places in ``a`` and in ``b``.

    >>> common_entries(np.array([1, 4, 6], np.uint32), np.array([0, 4, 5, 6], np.uint32))
    (array([1, 2]), array([1, 3]))
    """
    places = np.empty((2, min(a.size, b.size)), np.int64)
    n = _merge(a, b, places)
    return places[0, :n], places[1, :n]


def pearson(x: FloatArray, y: FloatArray) -> float:
    """Compute Pearson's r of two vectors; NaN where one does not vary."""
    if not x.size:
        return float("nan")
    dx, dy = x - x.mean(), y - y.mean()
    xx, yy = dx @ dx, dy @ dy
    if xx <= RELATIVE_ZERO * (x @ x) or yy <= RELATIVE_ZERO * (y @ y):
        return float("nan")
    return float(np.clip((dx @ dy) / np.sqrt(xx * yy), -1, 1))


@njit(cache=True, nogil=True, error_model="numpy")
def _merge(a, b, places):  # type: ignore[no-untyped-def]
    n = p = q = 0
    while p < a.size and q < b.size:
        if a[p] == b[q]:
            places[0, n] = p
            places[1, n] = q
            n += 1
            p += 1
            q += 1
        elif a[p] < b[q]:
            p += 1
        else:
            q += 1
    return n

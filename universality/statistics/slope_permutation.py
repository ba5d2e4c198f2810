"""Null of effect agreement: each firing keeps its strength and gets the slope of another document's firing.

An effect is activation × norm of the gradient × slope (`universality.statistics.effect_firings`). Permuting whole
effects would break up activations and norms as well, which partners share. A sum of products whose large factors meet
at the same tokens varies more than one whose large factors never meet, so features with *independent* slopes would pass
such a test far too often: simulated, 35 to 70% have p ≤ 0.05. So the slopes alone are permuted, and the statistic is

    S = Σ_t f_a(t) f_b(t) (s_a(t) − s̄_a) (s_b(t) − s̄_b),

with f the activations, s the slopes and s̄ their means within a kind of text. It is 0 on average where slopes are
unrelated.

Slopes of one document resemble each other. A permutation therefore moves them in runs: within each kind, the units of
documents are put in random order and A's slopes are shifted around that circle by a random number of tokens, so far
that none stays in its unit. Both sides keep exactly their slopes, and neighbours mostly stay neighbours. But a run may
straddle two units of the other side, and the permuted S then varies less than the observed one. Two things correct it:

- S is divided by its own standard error over units, T = Σ_u S_u / √(Σ_u S_u²) with S_u the sum over unit u, so that T
  varies alike in both cases (DiCiccio & Romano 2017, *Robust permutation tests for correlation and regression
  coefficients*).
- With few units T alone is not enough. A second null gives every S_u a random sign: independent slopes make either sign
  equally likely. The larger of both p-values counts, so that no p from u units is much below 2^−u, however many tokens
  they hold.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.compiled import njit
from universality.statistics.co_firing_effects import MIN_TOKENS, CoFiring

SHIFTS = 9  # draws from one order of the units; a new order costs about two draws
TIE = 1e-12  # relative difference below which two values of T are equal but for rounding
MIN_UNITS = 5
"""Units of documents of which a p can be at most 0.05: all S_u of four have one sign in 1 of 16 cases."""


class SlopeTest(NamedTuple):
    """Result for one pair; p is NaN where `reason` says so."""

    p: float
    """Share of permutations whose T is at least the observed one, which counts as one of them."""
    p_opposite: float
    """The same for T at most the observed one: effects that disagree."""
    null_r: float
    """r of effects per norm that firing strengths and kinds alone give, with slopes of other tokens on average."""
    reason: str = ""


def slope_test(pair: CoFiring, kind_of_segment: IntArray, draws: int, seed: tuple[int, int, int]) -> SlopeTest:
    """Compare the agreement of two features' slopes with that of permuted slopes.

    Parameters
    ----------
    pair
        The two features on the tokens where both fire.
    kind_of_segment
        [n_segments], rising.
    draws
        Number of permutations.
    seed
        Seed, row and column: the result does not depend on other pairs.
    """
    slope_a, slope_b = pair.per_norm_a / pair.activation_a, pair.per_norm_b / pair.activation_b
    starts = np.flatnonzero(np.diff(pair.segment, prepend=-1))
    kind = kind_of_segment[pair.segment]
    centred_a, mean_a = _centred(slope_a, kind)
    centred_b, _ = _centred(slope_b, kind)
    null_r = _expected_r(pair, centred_a, mean_a)
    kind_starts = np.flatnonzero(np.diff(kind_of_segment[pair.segment[starts]], prepend=-1))
    movable = _movable(starts, kind_starts, pair.n)
    n_movable = int(np.repeat(movable, np.diff(starts, append=pair.n)).sum())
    if n_movable < MIN_TOKENS or movable.sum() < MIN_UNITS:
        return SlopeTest(math.nan, math.nan, null_r, "too few documents of one kind to permute between")
    if not draws:
        return SlopeTest(math.nan, math.nan, null_r, "no permutations were requested")
    weighted_b = pair.activation_a * pair.activation_b * centred_b
    upper, lower = _count(
        centred_a, weighted_b, np.append(starts, pair.n), np.append(kind_starts, starts.size), movable, draws,
        np.array(np.random.SeedSequence(seed).generate_state(1, np.uint64)),
    )  # fmt: skip
    return SlopeTest((1 + upper) / (1 + draws), (1 + lower) / (1 + draws), null_r)


def _centred(slope: FloatArray, kind: IntArray) -> tuple[FloatArray, FloatArray]:
    """Subtract the mean of each kind; also return that mean for each token."""
    count = np.maximum(np.bincount(kind), 1)
    mean = (np.bincount(kind, slope) / count)[kind]
    return slope - mean, mean


def _expected_r(pair: CoFiring, centred_a: FloatArray, mean_a: FloatArray) -> float:
    """Compute r of effects per norm where A's slopes are exchanged within kinds, from expected moments."""
    expected = pair.activation_a * mean_a
    dy = pair.per_norm_b - pair.per_norm_b.mean()
    # The spread about the kinds' means is taken as one for all kinds.
    variance = (pair.activation_a**2).sum() * centred_a.var() + ((expected - expected.mean()) ** 2).sum()
    spread = math.sqrt(variance * (dy @ dy))
    return float(expected @ dy / spread) if spread > 0 else math.nan


def _movable(starts: IntArray, kind_starts: IntArray, n: int) -> BoolArray:
    """Tell for each segment whether no unit holds more than half of its kind's tokens, so that all can leave theirs."""
    size = np.diff(starts, append=n)
    largest, total = np.maximum.reduceat(size, kind_starts), np.add.reduceat(size, kind_starts)
    return np.repeat(2 * largest <= total, np.diff(kind_starts, append=starts.size))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _dot(x, y):  # type: ignore[no-untyped-def]
    total = 0.0
    for k in range(x.size):
        total += x[k] * y[k]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _below(state, n):  # type: ignore[no-untyped-def]
    """Draw an integer below n by SplitMix64 (Steele et al. 2014), whose draws no version of a library changes."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.int64(z % np.uint64(n))


@njit(cache=True, nogil=True, error_model="numpy")
def _arrange(slope, weight, starts, first, last, order, state, circle, laid, bounds):  # type: ignore[no-untyped-def]
    """Lay the segments ``first`` to ``last`` of a kind out in random order, the slopes twice; return the largest."""
    for k in range(first, last):
        order[k] = k
    for k in range(last - 1, first, -1):
        other = first + _below(state, k - first + 1)
        order[k], order[other] = order[other], order[k]
    low, n = starts[first], starts[last] - starts[first]
    to, largest = low, 0
    for k in range(first, last):
        begin, end = starts[order[k]], starts[order[k] + 1]
        bounds[k] = to
        for p in range(begin, end):
            laid[to] = weight[p]
            circle[low + to] = slope[p]
            circle[low + to + n] = slope[p]
            to += 1
        largest = max(largest, end - begin)
    bounds[last] = to
    return largest


@njit(cache=True, nogil=True, error_model="numpy")
def _with_random_signs(sums, state):  # type: ignore[no-untyped-def]
    total = 0.0
    for k in range(sums.size):
        total += sums[k] if _below(state, 2) else -sums[k]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _shifted_t(laid, circle, bounds, starts, kinds, movable, largest, state):  # type: ignore[no-untyped-def]
    """Compute T with the slopes of each kind shifted around their circle."""
    total = square = 0.0
    for c in range(kinds.size - 1):
        if not movable[kinds[c]]:
            continue
        low = starts[kinds[c]]
        n = starts[kinds[c + 1]] - low
        shift = low + largest[c] + _below(state, n - 2 * largest[c] + 1)
        for k in range(kinds[c], kinds[c + 1]):
            s = _dot(laid[bounds[k] : bounds[k + 1]], circle[shift + bounds[k] : shift + bounds[k + 1]])
            total += s
            square += s * s
    return total / np.sqrt(square) if square > 0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _count(slope, weight, starts, kinds, movable, draws, state):  # type: ignore[no-untyped-def]
    """Count the draws that reach at least, and at most, what is observed: the larger of both nulls' counts."""
    sums = np.zeros(movable.size)
    for k in range(movable.size):
        if movable[k]:
            sums[k] = _dot(slope[starts[k] : starts[k + 1]], weight[starts[k] : starts[k + 1]])
    total, square = sums.sum(), (sums * sums).sum()
    observed = total / np.sqrt(square) if square > 0 else 0.0
    tie, tie_t = TIE * abs(total), TIE * abs(observed)
    order, bounds = np.empty(movable.size, np.int64), np.empty(movable.size + 1, np.int64)
    laid, circle = np.empty(weight.size), np.empty(2 * slope.size)
    largest = np.zeros(kinds.size - 1, np.int64)
    upper = lower = upper_signs = lower_signs = 0
    for draw in range(draws):
        if draw % SHIFTS == 0:
            for c in range(kinds.size - 1):
                if movable[kinds[c]]:
                    largest[c] = _arrange(slope, weight, starts, kinds[c], kinds[c + 1], order, state, circle, laid,
                                          bounds)  # fmt: skip
        t = _shifted_t(laid, circle, bounds, starts, kinds, movable, largest, state)
        flipped = _with_random_signs(sums, state)
        upper += t >= observed - tie_t
        lower += t <= observed + tie_t
        upper_signs += flipped >= total - tie
        lower_signs += flipped <= total + tie
    return max(upper, upper_signs), max(lower, lower_signs)

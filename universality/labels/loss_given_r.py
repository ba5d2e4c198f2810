r"""Loss of an explanation's score on partners, compared with other pairs of features at equal r.

An explanation loses score on another feature the more, the less the two features fire alike. So the loss on partners in
another model is compared with the loss on *controls* (pairs of two SAE seeds of one model, features that are no
partners) at equal r and at equal score on the feature that was explained, which bounds what can be lost.

The loss of controls is fitted by least squares as a function of r and of the own score s,

    f(r, s) = a + b r + Σ_k c_k max(0, r − knot_k) + d s + e r s,

with up to two knots, at the terciles of the partners' r. The estimate is the mean of (loss − f(r, s)) over the
partners. This is the effect on the treated by regression adjustment (Oaxaca–Blinder; Kline 2011, *American Economic
Review* 101, shows that it is also a reweighting of the controls). It extrapolates nothing in r: partners whose r lies
outside that of the controls are left out and counted, and controls far from any partner's r are not used.

r is measured on a sample of text. Where partners and controls have quite different r, an error in r is partly taken for
a difference in r, and a small part of the difference that r explains is left. The groups should overlap well in r.

All pairs that belong to one feature of A form a cluster: its partner, its non-partners, its second seeds. They share
its explanation, own score and part of its examples. The bootstrap resamples clusters and fits f again in each draw; the
interval is the estimate ± t s with s the spread of the draws and t Student's quantile. Cameron, Gelbach & Miller 2008,
*Review of Economics and Statistics* 90, study such bootstraps. A feature of B is a non-partner at most once, so no
control is counted twice. Where it is another feature's partner as well, both losses rise together, which makes the
difference vary less than the interval says.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import stdtrit

from universality.arrays import BoolArray, FloatArray, IntArray

MIN_CLUSTERS = 20
"""Fewest features of A with partners, and with controls, for an interval: with fewer it covers too seldom."""
MIN_CONTROLS = 20
"""Fewest controls to which the loss is fitted."""
_MIN_BEYOND = 5  # controls on either side of a partner's r
_MIN_BETWEEN = 10  # controls between two knots
_MARGIN = 0.1  # controls are used up to this distance in r from the partners
_RCOND = 1e-9  # own scores that hardly vary give columns that are nearly collinear
_MIN_DRAWN = 0.8  # share of draws with an estimate


@dataclass(frozen=True)
class LossGivenR:
    """Loss on partners beyond that of controls at equal r and equal own score.

    Parameters
    ----------
    n_partners
        Partners that were compared.
    n_outside
        Partners whose r lies outside that of the controls; they are left out.
    n_controls
        Controls to which the loss was fitted.
    partners, controls
        Mean loss of the compared partners, and the mean loss that controls have at their r and own scores.
    difference, low, high
        Their difference, with its interval over features. NaN where there are too few.
    """

    n_partners: int
    n_outside: int
    n_controls: int
    partners: float
    controls: float
    difference: float
    low: float
    high: float


def loss_given_r(
    loss: FloatArray,
    r: FloatArray,
    own: FloatArray,
    is_partner: BoolArray,
    cluster: IntArray,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> LossGivenR:
    """Compare the loss on partners with that on controls at equal r and own score.

    Parameters
    ----------
    loss
        [n_pairs] score of the explanation on its own feature minus that on the other one; NaN is left out.
    r
        [n_pairs] held-out correlation of the two features' activations; NaN is left out.
    own
        [n_pairs] score on its own feature.
    is_partner
        [n_pairs] partners; all others are controls.
    cluster
        [n_pairs] feature of A to which a pair belongs.
    draws
        Resamples of the clusters; 0 for no interval.
    level
        Nominal coverage.
    seed
        Seed of the resamples.

    Examples
    --------
    A loss of 0.5 (1 − r), to which 0.1 is added for partners:

    >>> rng = np.random.default_rng(0)
    >>> r, own, is_partner = rng.random(400), rng.random(400), np.arange(400) % 4 == 0
    >>> loss = 0.5 * (1 - r) + 0.1 * is_partner + rng.normal(0, 0.02, 400)
    >>> found = loss_given_r(loss, r, own, is_partner, np.arange(400) // 4)
    >>> round(found.difference, 2), found.low < 0.1 < found.high
    (0.1, True)
    """
    known = np.isfinite(loss) & np.isfinite(r) & np.isfinite(own)
    loss, r, own = loss[known], r[known], own[known]
    is_partner, cluster = is_partner[known], cluster[known]
    used, inside = _used_controls(r, is_partner), np.zeros(0, bool)
    n_partners = int(is_partner.sum())
    if int(used.sum()) >= MIN_CONTROLS:
        inside = _inside(r, is_partner, r[used])
    if not inside.any():
        return LossGivenR(0, n_partners, int(used.sum()), *(float("nan"),) * 5)
    fit = _Fit.of(_columns(r, own, _knots(r[inside], r[used])), loss, used, inside, cluster)
    observed, expected = fit.means(np.ones((1, fit.n_clusters)))
    n_outside = n_partners - int(inside.sum())
    low, high = fit.interval(float(observed[0] - expected[0]), draws, level, seed)
    return LossGivenR(
        n_partners - n_outside,
        n_outside,
        int(used.sum()),
        float(observed[0]),
        float(expected[0]),
        float(observed[0] - expected[0]),
        low,
        high,
    )


def partial_correlation(
    x: FloatArray,
    y: FloatArray,
    given: list[FloatArray],
    cluster: IntArray,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[int, float, float, float]:
    """Correlate two numbers of features given others, with a bootstrap interval over clusters on Fisher's z.

    Parameters
    ----------
    x, y
        [n].
    given
        Further numbers [n], whose linear influence on both is removed.
    cluster
        [n] what is resampled.
    draws, level, seed
        As for `loss_given_r`.

    Returns
    -------
    n : int
        Features that have all numbers.
    r, low, high : float
        NaN for fewer than `MIN_CLUSTERS` clusters, or where a number does not vary.

    Examples
    --------
    Two numbers that agree only because of a third:

    >>> rng = np.random.default_rng(0)
    >>> z = rng.normal(size=300)
    >>> x, y = z + rng.normal(size=300), z + rng.normal(size=300)
    >>> plain, given_z = (partial_correlation(x, y, given, np.arange(300))[1] for given in ([], [z]))
    >>> plain > 0.4, abs(given_z) < 0.15
    (True, True)
    """
    values = np.column_stack([*given, x, y])
    known = np.isfinite(values).all(axis=1)
    values, code = values[known], np.unique(cluster[known], return_inverse=True)[1]
    n, n_clusters = len(values), int(code.max(initial=-1)) + 1
    if n_clusters < MIN_CLUSTERS or n < values.shape[1] + 3 or (values.std(axis=0) <= _RCOND).any():
        return n, *(float("nan"),) * 3
    scaled = np.column_stack([np.ones(n), (values - values.mean(axis=0)) / values.std(axis=0)])
    squares = _sums(scaled[:, :, None] * scaled[:, None, :], code, n_clusters)
    weights = np.vstack([np.ones(n_clusters), _drawn(n_clusters, draws, seed)])
    partial = _residual_correlation(np.einsum("dc,cij->dij", weights, squares))
    z = np.arctanh(np.clip(partial, -1 + 1e-12, 1 - 1e-12))
    low, high = _around(float(z[0]), z[1:], n_clusters, level)
    return n, float(partial[0]), float(np.tanh(low)), float(np.tanh(high))


def _residual_correlation(squares: FloatArray) -> FloatArray:
    """Correlate what is left of the last two columns after a fit by the others; sums of products [n_draws, p, p]."""
    given, beside = squares[:, :-2, :-2], squares[:, :-2, -2:]
    fitted = np.linalg.pinv(given, rcond=_RCOND, hermitian=True) @ beside
    left = squares[:, -2:, -2:] - np.swapaxes(beside, 1, 2) @ fitted
    spread = np.sqrt(np.maximum(left[:, 0, 0] * left[:, 1, 1], 0))
    nothing = (left[:, [0, 1], [0, 1]] <= _RCOND * squares[:, [-2, -1], [-2, -1]]).any(axis=1)  # rounding is left
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(nothing, np.nan, left[:, 0, 1] / spread)


def _used_controls(r: FloatArray, is_partner: BoolArray) -> BoolArray:
    """Flag the controls near the partners' r."""
    if not is_partner.any():
        return np.zeros(r.size, bool)
    low, high = r[is_partner].min() - _MARGIN, r[is_partner].max() + _MARGIN
    return np.asarray(~is_partner & (r >= low) & (r <= high))


def _inside(r: FloatArray, is_partner: BoolArray, of_controls: FloatArray) -> BoolArray:
    """Flag the partners with enough controls of lower, and of higher r."""
    ranked = np.sort(of_controls)
    return np.asarray(is_partner & (r >= ranked[_MIN_BEYOND - 1]) & (r <= ranked[-_MIN_BEYOND]))


def _knots(of_partners: FloatArray, of_controls: FloatArray) -> list[float]:
    """Terciles of the partners' r, as far as enough controls lie between them."""
    knots: list[float] = []
    for knot in np.quantile(of_partners, [1 / 3, 2 / 3]).tolist():
        below = (of_controls > (knots[-1] if knots else -np.inf)) & (of_controls <= knot)
        if below.sum() >= _MIN_BETWEEN and (of_controls > knot).sum() >= _MIN_BETWEEN:
            knots.append(knot)
    return knots


def _columns(r: FloatArray, own: FloatArray, knots: list[float]) -> FloatArray:
    """Functions of r and own score [n_pairs, n_columns] of which the expected loss is a sum."""
    centred = own - own.mean()
    return np.column_stack([np.ones(r.size), r, *(np.maximum(0, r - knot) for knot in knots), centred, r * centred])


@dataclass(frozen=True, eq=False)
class _Fit:
    """Sums over the pairs of each cluster, from which the estimate of any weights of clusters follows.

    Parameters
    ----------
    squares, products
        [n_clusters, p, p] and [n_clusters, p], XᵀX and Xᵀy of the controls.
    columns, loss, n
        [n_clusters, p], [n_clusters], [n_clusters], sums of X and y over the partners, and their number.
    n_of_controls
        [n_clusters] number of controls.
    """

    squares: FloatArray
    products: FloatArray
    columns: FloatArray
    loss: FloatArray
    n: FloatArray
    n_of_controls: FloatArray

    @classmethod
    def of(cls, x: FloatArray, loss: FloatArray, used: BoolArray, inside: BoolArray, cluster: IntArray) -> _Fit:
        code = np.unique(cluster[used | inside], return_inverse=True)[1]
        size = int(code.max()) + 1
        control, partner = code[used[used | inside]], code[inside[used | inside]]
        squares = _sums(x[used][:, :, None] * x[used][:, None, :], control, size)
        products = _sums(x[used] * loss[used][:, None], control, size)
        counts = (np.bincount(part, minlength=size).astype(np.float64) for part in (partner, control))
        return cls(squares, products, _sums(x[inside], partner, size), _sums(loss[inside], partner, size), *counts)

    @property
    def n_clusters(self) -> int:
        return len(self.n)

    def means(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean loss of partners and mean fitted loss at their r [n_draws], for weights [n_draws, n_clusters]."""
        squares = np.einsum("dc,cij->dij", weights, self.squares)
        inverse = np.linalg.pinv(squares, rcond=_RCOND, hermitian=True)
        coefficients = np.einsum("dij,dj->di", inverse, weights @ self.products)
        with np.errstate(invalid="ignore", divide="ignore"):
            n = weights @ self.n
            return weights @ self.loss / n, ((weights @ self.columns) * coefficients).sum(axis=1) / n

    def interval(self, estimate: float, draws: int, level: float, seed: int) -> tuple[float, float]:
        if min((self.n > 0).sum(), (self.n_of_controls > 0).sum()) < MIN_CLUSTERS:
            return float("nan"), float("nan")
        observed, expected = self.means(_drawn(self.n_clusters, draws, seed))
        return _around(estimate, observed - expected, self.n_clusters, level)


def _around(estimate: float, drawn: FloatArray, n_clusters: int, level: float) -> tuple[float, float]:
    """Student's interval with the spread of the draws."""
    finite = drawn[np.isfinite(drawn)]
    if finite.size < max(2, _MIN_DRAWN * drawn.size):
        return float("nan"), float("nan")
    # a draw varies by (n − 1) / n too little
    spread = float(finite.std(ddof=1)) * sqrt(n_clusters / (n_clusters - 1))
    reach = float(stdtrit(n_clusters - 1, (1 + level) / 2)) * spread
    return estimate - reach, estimate + reach


def _sums(values: FloatArray, code: IntArray, size: int) -> FloatArray:
    """Sum rows [n, …] by code: [size, …]."""
    total = np.zeros((size, *values.shape[1:]))
    np.add.at(total, code, values)
    return total


def _drawn(n_clusters: int, draws: int, seed: int) -> FloatArray:
    """Draw how often each cluster counts in each resample: [draws, n_clusters]."""
    rng = np.random.default_rng([seed, 8])
    return rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=draws).astype(np.float64)

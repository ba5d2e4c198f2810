"""Bootstrap intervals of ratios of sums over groups of documents.

Many results are a sum over tokens divided by another sum over the same tokens, such as a share of a loss or of a
variance. Tokens of a document are not independent, so whole groups are resampled, as in
`universality.statistics.bootstrap`, and the interval is studentised and symmetric: with R = Σ N_g / Σ D_g, the
influence of group g is u_g = (N_g − R D_g) / Σ D (the delta method), s² = Σ u_g², and

    interval = R ± t s,   t the level's quantile of |R* − R| / s* over the draws.

Hall 1988, *Theoretical comparison of bootstrap confidence intervals*.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray
from universality.errors import MismatchError
from universality.statistics.bootstrap import MIN_RESAMPLED_GROUPS

_DRAWS = 1000
_ROUNDING = 1e-9  # relative difference of two sums of the same numbers, with room


def ratio_intervals(
    numerator: npt.ArrayLike, denominator: npt.ArrayLike, draws: int = _DRAWS, seed: int = 0, level: float = 0.95
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Compute ratios of sums over groups and their intervals.

    Parameters
    ----------
    numerator : [n, n_groups]
        Sum of each group. Rows share the draws, so the numerator of a difference gives a paired interval.
    denominator : [n, n_groups] or [n_groups]
        Sum of each group.
    draws, seed, level
        Resamples of the groups, their seed, and the nominal coverage.

    Returns
    -------
    ratio, low, high : float64 [n]
        The ratio is NaN where the denominators sum to 0; bounds are NaN there too, and with fewer than
        ``MIN_RESAMPLED_GROUPS`` groups that hold anything.

    Raises
    ------
    MismatchError
        If the shapes disagree.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.uniform(1, 3, 200)
    >>> ratio, low, high = ratio_intervals([weights * rng.normal(0.5, 0.1, 200)], weights)
    >>> bool(low[0] < 0.5 < high[0]), bool(high[0] - low[0] < 0.05)
    (True, True)
    """
    top = np.asarray(numerator, np.float64)
    bottom = np.asarray(denominator, np.float64)
    if top.ndim != 2 or bottom.shape not in (top.shape, top.shape[1:]):
        raise MismatchError(
            f"expected sums [n, n_groups] and a denominator of that shape or [n_groups], found {top.shape} and "
            f"{bottom.shape}"
        )
    bottom = np.broadcast_to(bottom, top.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = top.sum(axis=1) / bottom.sum(axis=1)
        ratio = np.where(bottom.sum(axis=1) != 0, ratio, np.nan)
        reach = _reach(top, bottom, ratio, draws, seed, level)
    return ratio, ratio - reach, ratio + reach


def _reach(top: FloatArray, bottom: FloatArray, ratio: FloatArray, draws: int, seed: int, level: float) -> FloatArray:
    """Compute t s [n]; NaN where too few groups hold anything."""
    held = ((top != 0) | (bottom != 0)).sum(axis=1)
    n_groups = top.shape[1]
    if not n_groups:
        return np.full(len(top), np.nan)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=draws).astype(np.float64).T
    tops, bottoms = top @ weights, bottom @ weights
    drawn = tops / bottoms
    squares = (top**2) @ weights - 2 * drawn * ((top * bottom) @ weights) + drawn**2 * ((bottom**2) @ weights)
    spread = np.sqrt(((top - ratio[:, None] * bottom) ** 2).sum(axis=1)) / np.abs(bottom.sum(axis=1))
    away = np.abs(drawn - ratio[:, None])
    away[away <= _ROUNDING * np.abs(ratio[:, None])] = 0  # where every group has the ratio itself, and squares are 0
    t = away / (np.sqrt(np.maximum(squares, 0)) / np.abs(bottoms))
    t = np.where(np.isnan(t), np.where(np.isnan(drawn), np.inf, 0.0), t)  # 0/0: the draw gave the ratio itself
    quantile = np.quantile(t, level, axis=1, method="higher")
    reach = np.where(spread > 0, quantile * spread, 0.0)
    return np.where((held >= MIN_RESAMPLED_GROUPS) & np.isfinite(ratio) & np.isfinite(reach), reach, np.nan)

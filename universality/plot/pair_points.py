"""Scatter plots of two numbers of the same pairs: r when chosen and held out, activation r and logit-weight r."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike
from scipy import stats
from scipy.spatial import KDTree

from universality.errors import UniversalityError
from universality.features import FeatureStore, select_features
from universality.formatting import count, fixed, plural
from universality.plot.pair_table import PairTable, is_calibration, pair_columns
from universality.plot.style import COLUMN, DENSITY_MAP, GREY, PALE, TICKS, new_axes, say, styled
from universality.similarity import Similarity

if TYPE_CHECKING:
    from universality.arrays import FloatArray, IntArray
    from universality.statistics import Calibration

FEW = 3000
"""Up to this many points are drawn one by one, darker where they crowd; more are counted in hexagons."""
NEAR = 0.06
"""Radius in data units within which neighbours of a point are counted; the axes span about 1 and 2."""
Values = np.ndarray[Any, np.dtype[np.float64]]
Weights: TypeAlias = Similarity | tuple[FeatureStore, FeatureStore]


@dataclass(frozen=True)
class Agreement:
    """Correlations of two numbers over ``n`` pairs that have both; ``left_out`` pairs lack one."""

    n: int
    left_out: int
    pearson: float
    spearman: float

    @classmethod
    def of(cls, x: ArrayLike, y: ArrayLike) -> Agreement:
        """Compute Pearson and Spearman correlations; NaN with fewer than three pairs, or without variance."""
        a, b = known_both(x, y)
        left_out = np.asarray(x).size - a.size
        if a.size < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
            return cls(a.size, left_out, math.nan, math.nan)
        rank_a, rank_b = stats.rankdata(a), stats.rankdata(b)
        return cls(a.size, left_out, float(np.corrcoef(a, b)[0, 1]), float(np.corrcoef(rank_a, rank_b)[0, 1]))


@styled
def held_out(pairs: PairTable, *, ax: Axes | None = None) -> Axes:
    """Plot r on the held-out half of the documents against r on the half that chose the partners.

    Pairs far below the dashed diagonal are partners chosen by luck. The title states the number of pairs, how the two
    are correlated, and the mean optimism: r when chosen minus r held out. Up to 3,000 pairs are points, darker where
    they crowd; more are counted in hexagons.

    Parameters
    ----------
    pairs
        A calibration, or a table with the columns ``score`` (r when chosen) and ``held_out``: of its pairs
        (`Calibration.to_frame`), some of them, or `Study.pairs`.
    ax
        Axes to draw into; new ones by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    UniversalityError
        If something else is given, or the table lacks a column.

    Examples
    --------
    >>> import pandas as pd
    >>> axes = held_out(pd.DataFrame({"score": [0.5, 0.9, 0.7], "held_out": [0.4, 0.8, float("nan")]}))
    >>> axes.get_title(loc="left").splitlines()
    ['n = 2 pairs', 'mean optimism 0.100']
    """
    score, held_out = pair_columns(pairs, ("score", "held_out"), "held_out")
    axes = new_axes(COLUMN * 1.25, 3.3) if ax is None else ax
    draw_held_out(axes, score, held_out)
    return axes


@styled
def logit(
    pairs: PairTable, weights: Weights | None = None, *, by_chance: ArrayLike | None = None, ax: Axes | None = None
) -> Axes:
    """Plot the logit-weight r of pairs against their activation r: do pairs that fire alike also write alike?

    The title states the number of pairs and how the two are correlated. The dashed line is the 95% quantile of the
    logit-weight r of pairs by chance.

    Parameters
    ----------
    pairs
        A calibration by activation, or a table of pairs with the column ``held_out``, and either ``logit_r``
        (`Study.pairs`, a table of ``matches/``) or ``row`` and ``col``.
    weights
        `Similarity.logit` of the two stores, or the two stores (a, b), of which only the features of the pairs are
        compared; not needed for a table with ``logit_r``.
    by_chance
        Logit-weight r [n] of pairs by chance. By default, where ``weights`` are given for a calibration, each row has
        the partner of another pair whose features fire about as often.
    ax
        Axes to draw into; new ones by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    UniversalityError
        If there are neither weights nor a column ``logit_r``, the table lacks another column, or a store has no logit
        weights.

    Examples
    --------
    >>> import pandas as pd
    >>> axes = logit(pd.DataFrame({"held_out": [0.4, 0.8, 0.9], "logit_r": [0.1, 0.7, 0.6]}))
    >>> axes.get_title(loc="left").splitlines()
    ['n = 3 pairs', 'Pearson 0.94, Spearman 0.50']
    """
    if weights is None:
        if is_calibration(pairs):
            raise UniversalityError(
                "logit: a calibration has no logit weights; pass the two stores too, logit(calibration, (a, b)), or "
                "Similarity.logit(a, b)"
            )
        activation_r, logit_r = pair_columns(pairs, ("held_out", "logit_r"), "logit")
    else:
        activation_r, logit_r, random = _weighed(pairs, weights)
        by_chance = random if by_chance is None else by_chance
    axes = new_axes(COLUMN * 1.25, 3.3) if ax is None else ax
    draw_logit(axes, activation_r, logit_r, () if by_chance is None else by_chance)
    return axes


def _weighed(pairs: PairTable, weights: Weights) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return activation r and logit-weight r of the pairs, and the latter by chance; empty for a table."""
    activation_r, rows, cols = pair_columns(pairs, ("held_out", "row", "col"), "logit")
    row, col = rows.astype(np.int64), cols.astype(np.int64)
    if not row.size:
        return activation_r, activation_r, activation_r
    if not isinstance(weights, Similarity):
        if not isinstance(weights, tuple) or [isinstance(side, FeatureStore) for side in weights] != [True, True]:
            raise UniversalityError(
                "logit: expected Similarity.logit(a, b) or two stores (a, b) as weights, found "
                f"{type(weights).__name__}"
            )
        a, b = (select_features(store, np.unique(side)) for store, side in zip(weights, (row, col), strict=True))
        weights = Similarity.logit(a, b)
        row, col = (np.unique(side, return_inverse=True)[1] for side in (row, col))
    logit_r = _alive(weights, row, col)
    if not is_calibration(pairs):
        return activation_r, logit_r, np.zeros(0)
    return activation_r, logit_r, _by_chance(pairs, weights, row, col)


def _by_chance(calibration: Calibration, weights: Similarity, row: IntArray, col: IntArray) -> FloatArray:
    """Return logit-weight r of each row with the partner of another pair that fires about as often."""
    from universality.statistics.token_types import exchanged

    stratum = calibration.stratum if calibration.chances else np.zeros(row.size, np.int64)
    order = exchanged(stratum, np.random.default_rng(0))
    return np.where(order == np.arange(row.size), np.nan, _alive(weights, row, col[order]))


def _alive(weights: Similarity, row: IntArray, col: IntArray) -> FloatArray:
    """Return scores of pairs, NaN where a feature has no logit weights."""
    scores = np.asarray(weights.pairs(row, col), np.float64)
    return np.where(weights.dead_rows[row] | weights.dead_cols[col], np.nan, scores)


def draw_held_out(axes: Axes, chosen: ArrayLike, held_out: ArrayLike) -> None:
    """Draw held-out r [n_pairs] against chosen r, with the diagonal and the mean difference."""
    x, y = known_both(chosen, held_out)
    low = min(0.0, float(min(x.min(), y.min()))) if x.size else 0.0
    axes.plot([low, 1], [low, 1], color=GREY, linewidth=0.7, linestyle="--", zorder=3)
    axes.set(xlim=(low - 0.03, 1.03), ylim=(low - 0.03, 1.03))
    _points(axes, x, y)
    axes.set(xlabel="r on the half that chose the partners", ylabel="r on the held-out half")
    _state(axes, Agreement.of(chosen, held_out), optimism(chosen, held_out))


def draw_logit(axes: Axes, activation_r: ArrayLike, logit_r: ArrayLike, by_chance: ArrayLike = ()) -> None:
    """Draw logit-weight r [n_pairs] against activation r, with the 95% quantile of what chance gives."""
    x, y = known_both(activation_r, logit_r)
    axes.axhline(0, color=PALE, linewidth=0.7, zorder=0)
    if math.isfinite(level := quantile_95(by_chance)):
        axes.axhline(level, color=GREY, linewidth=0.7, linestyle="--", zorder=3)
    axes.axvline(0, color=PALE, linewidth=0.7, zorder=0)
    low = min(0.0, float(x.min())) if x.size else 0.0
    axes.set(xlim=(low - 0.03, 1.03), ylim=(-1.03, 1.03))
    _points(axes, x, y)
    axes.set(xlabel="activation r of the pair (held-out tokens)", ylabel="logit-weight r of the pair (vocabulary)")
    _state(axes, Agreement.of(activation_r, logit_r))


def optimism(chosen: ArrayLike, held_out: ArrayLike) -> float:
    """Return the mean of chosen minus held-out r over pairs that have both; NaN without any."""
    x, y = known_both(chosen, held_out)
    return float((x - y).mean()) if x.size else math.nan


def known_both(x: ArrayLike, y: ArrayLike) -> tuple[Values, Values]:
    """Return the two numbers of the pairs that have both.

    Raises
    ------
    UniversalityError
        If there are not as many of one as of the other.
    """
    a, b = np.asarray(x, dtype=np.float64).ravel(), np.asarray(y, dtype=np.float64).ravel()
    if a.size != b.size:
        raise UniversalityError(f"expected two numbers for every pair, found {a.size} and {b.size}")
    both = np.isfinite(a) & np.isfinite(b)
    return a[both], b[both]


def quantile_95(values: ArrayLike) -> float:
    """Return the 95% quantile of the finite values; NaN without any."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return float(np.quantile(known, 0.95)) if known.size else math.nan


def _points(axes: Axes, x: Values, y: Values) -> None:
    if not x.size:
        say(axes, "no pairs")
    elif x.size <= FEW:
        _single(axes, x, y)
    else:
        _hexagons(axes, x, y)


def _single(axes: Axes, x: Values, y: Values) -> None:
    """Draw every point, crowded ones darker and on top."""
    places = np.column_stack([x, y])
    # drawn in the order of their neighbours, so that dense regions are not hidden by points drawn later
    crowd = KDTree(places).query_ball_point(places, NEAR, return_length=True)
    order = np.argsort(crowd, kind="stable")
    axes.scatter(x[order], y[order], c=np.log(crowd[order]), cmap=DENSITY_MAP, s=7, linewidths=0, vmin=0, zorder=2)


def _hexagons(axes: Axes, x: Values, y: Values) -> None:
    """Draw counts in hexagons, with a logarithmic colour bar."""
    extent = (*axes.get_xlim(), *axes.get_ylim())
    cells = axes.hexbin(x, y, gridsize=44, extent=extent, bins="log", mincnt=1, cmap=DENSITY_MAP, linewidths=0.1)
    largest = float(np.asarray(cells.get_array()).max())
    bar = axes.figure.colorbar(cells, ax=axes, label="pairs in a cell", shrink=0.8, aspect=24)
    bar.set_ticks([tick for tick in TICKS if tick <= largest], minor=False)
    bar.set_ticks([], minor=True)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))


def _state(axes: Axes, both: Agreement, gain: float = math.nan) -> None:
    lines = [f"n = {plural(both.n, 'pair')}"]
    if math.isfinite(both.pearson):
        lines += [f"Pearson {fixed(both.pearson)}, Spearman {fixed(both.spearman)}"]
    if math.isfinite(gain):
        lines += [f"mean optimism {fixed(gain, 3)}"]
    axes.set_title("\n".join(lines), fontsize=7.5, linespacing=1.3)

"""Scatter plots of two numbers of the same pairs."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike
from scipy import stats
from scipy.spatial import KDTree

from universality.errors import UniversalityError
from universality.formatting import count, fixed, percent, plural
from universality.plot.style import COLUMN, DENSITY_MAP, GREY, PALE, TICKS, new_figure, say, styled
from universality.report.data import NAN, Caption

FEW = 3000
"""Up to this many points are drawn one by one, darker where they crowd; more are counted in hexagons."""
NEAR = 0.06
"""Radius in data units within which neighbours of a point are counted; the axes span about 1 and 2."""
Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Agreement:
    """Correlations of two numbers over ``n`` pairs that have both; ``left_out`` pairs lack one."""

    n: int
    left_out: int
    pearson: float
    spearman: float


@styled
def activation_against_logit(activation_r: ArrayLike, logit_r: ArrayLike, by_chance: ArrayLike = ()) -> Figure:
    """Plot logit-weight r against activation r: do pairs that fire alike also write alike?

    Parameters
    ----------
    activation_r, logit_r
        [n_pairs] each; pairs with NaN in either are left out.
    by_chance
        Logit-weight r of pairs drawn at random; a dashed line marks the 95% quantile.
    """
    x, y = _both(activation_r, logit_r)
    figure = new_figure(COLUMN * 1.25, 3.3)
    axes = figure.subplots()
    axes.axhline(0, color=PALE, linewidth=0.7, zorder=0)
    if math.isfinite(level := _quantile_95(by_chance)):
        axes.axhline(level, color=GREY, linewidth=0.7, linestyle="--", zorder=3)
    axes.axvline(0, color=PALE, linewidth=0.7, zorder=0)
    low = min(0.0, float(x.min())) if x.size else 0.0
    axes.set(xlim=(low - 0.03, 1.03), ylim=(-1.03, 1.03))
    _points(axes, x, y)
    axes.set(xlabel="activation r of the pair (held-out tokens)", ylabel="logit-weight r of the pair (vocabulary)")
    _state(axes, agreement(activation_r, logit_r))
    return figure


@styled
def chosen_against_held_out(chosen: ArrayLike, held_out: ArrayLike) -> Figure:
    """Plot held-out r against chosen r: pairs below the diagonal scored higher where partners were chosen.

    Parameters
    ----------
    chosen, held_out
        [n_pairs] r on the half that chose and on the half that reports.
    """
    x, y = _both(chosen, held_out)
    figure = new_figure(COLUMN * 1.25, 3.3)
    axes = figure.subplots()
    low = min(0.0, float(min(x.min(), y.min()))) if x.size else 0.0
    axes.plot([low, 1], [low, 1], color=GREY, linewidth=0.7, linestyle="--", zorder=3)
    axes.set(xlim=(low - 0.03, 1.03), ylim=(low - 0.03, 1.03))
    _points(axes, x, y)
    axes.set(xlabel="r on the half that chose the partners", ylabel="r on the held-out half")
    _state(axes, agreement(chosen, held_out), optimism(chosen, held_out))
    return figure


def agreement(x: ArrayLike, y: ArrayLike) -> Agreement:
    """Compute Pearson and Spearman correlations; NaN with fewer than three pairs, or without variance."""
    a, b = _both(x, y)
    left_out = np.asarray(x).size - a.size
    if a.size < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Agreement(a.size, left_out, NAN, NAN)
    rank_a, rank_b = stats.rankdata(a), stats.rankdata(b)
    return Agreement(a.size, left_out, float(np.corrcoef(a, b)[0, 1]), float(np.corrcoef(rank_a, rank_b)[0, 1]))


def optimism(chosen: ArrayLike, held_out: ArrayLike) -> float:
    """Return the mean of chosen minus held-out r over pairs that have both; NaN without any."""
    x, y = _both(chosen, held_out)
    return float((x - y).mean()) if x.size else NAN


def _both(x: ArrayLike, y: ArrayLike) -> tuple[Values, Values]:
    a, b = np.asarray(x, dtype=np.float64).ravel(), np.asarray(y, dtype=np.float64).ravel()
    if a.size != b.size:
        raise UniversalityError(f"expected two numbers for every pair, found {a.size} and {b.size}")
    both = np.isfinite(a) & np.isfinite(b)
    return a[both], b[both]


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
    figure = axes.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(cells, ax=axes, label="pairs in a cell", shrink=0.8, aspect=24)
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


def _quantile_95(values: ArrayLike) -> float:
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return float(np.quantile(known, 0.95)) if known.size else NAN


def describe_logit(activation_r: ArrayLike, logit_r: ArrayLike, by_chance: ArrayLike = ()) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    both = agreement(activation_r, logit_r)
    x, y = _both(activation_r, logit_r)
    odd = int(((x >= 0.5) & (y <= 0)).sum())
    text = (
        "Activation similarity of each matched pair (do both features fire on the same tokens?) against its "
        f"logit-weight similarity (do both promote the same tokens?). {_strength(both)} {plural(odd, 'pair')} "
        "that fire alike "
        "(r ≥ 0.5) have unrelated or opposite direct effects (logit r ≤ 0). Such a pair may be a coincidence of the "
        "text, or act on the output through later layers."
    )
    if math.isfinite(level := _quantile_95(by_chance)):
        above = float((y > level).mean()) if y.size else NAN
        text += (
            f" Dashed: 95% of pairs drawn at random from features that fire about as often lie below {fixed(level)}; "
            f"{percent(above)} of the matched pairs lie above."
        )
    return Caption(_left_out(text, both), f"Scatter plot of {plural(both.n, 'pair')}. {_strength(both)}")


def describe_held_out(chosen: ArrayLike, held_out: ArrayLike) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    both, gain = agreement(chosen, held_out), optimism(chosen, held_out)
    x, y = _both(chosen, held_out)
    below = float((y < x).mean()) if x.size else NAN
    text = (
        "r of each pair on the documents that were used to choose partners (horizontal) and on held-out documents "
        f"(vertical). On the dashed line the two are equal; {percent(below)} of pairs lie below it, and the mean "
        f"difference is {fixed(gain, 3)}. Points far below the line are partners chosen by luck."
    )
    return Caption(_left_out(text, both), f"Scatter plot of {plural(both.n, 'pair')}; mean optimism {fixed(gain, 3)}.")


def _strength(both: Agreement) -> str:
    if not math.isfinite(both.pearson):
        return "There are too few pairs to compute a correlation."
    word = "hardly" if abs(both.pearson) < 0.2 else "moderately" if abs(both.pearson) < 0.6 else "strongly"
    return (
        f"The two are {word} correlated (Pearson {fixed(both.pearson)}, Spearman {fixed(both.spearman)}, "
        f"n = {count(both.n)})."
    )


def _left_out(text: str, both: Agreement) -> str:
    return f"{text} {plural(both.left_out, 'pair')} without both numbers are left out." if both.left_out else text

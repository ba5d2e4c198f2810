"""Two numbers of the same pairs against each other."""

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
from universality.report.data import NAN, Caption
from universality.report.figures.style import COLUMN, DENSITY_MAP, GREY, PALE, new_figure, say, styled
from universality.report.formatting import count, fixed, percent, plural

FEW = 3000
"""So many points are drawn one by one, darker where they crowd; more are counted in hexagons."""
NEAR = 0.06
"""Points within this distance, of axes that span about 1 and 2, make a crowd."""
TICKS = [mantissa * 10**exponent for exponent in range(7) for mantissa in (1, 2, 5)]
Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Agreement:
    """How two numbers go together over ``n`` pairs that have both; ``left_out`` lack one."""

    n: int
    left_out: int
    pearson: float
    spearman: float


@styled
def activation_against_logit(activation_r: ArrayLike, logit_r: ArrayLike) -> Figure:
    """Do pairs that fire alike also write alike?

    Parameters
    ----------
    activation_r, logit_r
        [n_pairs] each; pairs with a NaN in either are left out.
    """
    x, y = _both(activation_r, logit_r)
    figure = new_figure(COLUMN * 1.25, 3.3)
    axes = figure.subplots()
    axes.axhline(0, color=PALE, linewidth=0.7, zorder=0)
    axes.axvline(0, color=PALE, linewidth=0.7, zorder=0)
    low = min(0.0, float(x.min())) if x.size else 0.0
    axes.set(xlim=(low - 0.03, 1.03), ylim=(-1.03, 1.03))
    _points(axes, x, y)
    axes.set(xlabel="activation r of the pair (held-out tokens)", ylabel="logit-weight r of the pair (vocabulary)")
    _state(axes, agreement(activation_r, logit_r))
    return figure


@styled
def chosen_against_held_out(chosen: ArrayLike, held_out: ArrayLike) -> Figure:
    """How much choosing partners flatters them: pairs below the diagonal scored higher where they were chosen.

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
    """Pearson and Spearman correlation of the pairs that have both numbers; NaN below three, or without variance."""
    a, b = _both(x, y)
    left_out = np.asarray(x).size - a.size
    if a.size < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Agreement(a.size, left_out, NAN, NAN)
    rank_a, rank_b = stats.rankdata(a), stats.rankdata(b)
    return Agreement(a.size, left_out, float(np.corrcoef(a, b)[0, 1]), float(np.corrcoef(rank_a, rank_b)[0, 1]))


def optimism(chosen: ArrayLike, held_out: ArrayLike) -> float:
    """Mean of chosen minus held out over pairs that have both; NaN without any."""
    x, y = _both(chosen, held_out)
    return float((x - y).mean()) if x.size else NAN


def _both(x: ArrayLike, y: ArrayLike) -> tuple[Values, Values]:
    a, b = np.asarray(x, dtype=np.float64).ravel(), np.asarray(y, dtype=np.float64).ravel()
    if a.size != b.size:
        raise UniversalityError(f"expected two numbers for every pair, found {a.size} and {b.size}")
    fine = np.isfinite(a) & np.isfinite(b)
    return a[fine], b[fine]


def _points(axes: Axes, x: Values, y: Values) -> None:
    if not x.size:
        say(axes, "no pairs")
    elif x.size <= FEW:
        _single(axes, x, y)
    else:
        _hexagons(axes, x, y)


def _single(axes: Axes, x: Values, y: Values) -> None:
    """Every point, those in a crowd darker and on top."""
    places = np.column_stack([x, y])
    crowd = KDTree(places).query_ball_point(places, NEAR, return_length=True)
    order = np.argsort(crowd, kind="stable")
    axes.scatter(x[order], y[order], c=np.log(crowd[order]), cmap=DENSITY_MAP, s=7, linewidths=0, vmin=0, zorder=2)


def _hexagons(axes: Axes, x: Values, y: Values) -> None:
    """Counts, with a logarithmic colour bar."""
    extent = (*axes.get_xlim(), *axes.get_ylim())
    cells = axes.hexbin(x, y, gridsize=44, extent=extent, bins="log", mincnt=1, cmap=DENSITY_MAP, linewidths=0.1)
    largest = float(np.asarray(cells.get_array()).max())
    figure = axes.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(cells, ax=axes, label="pairs in a cell", shrink=0.8, aspect=24)
    bar.set_ticks([tick for tick in TICKS if tick <= largest], minor=False)
    bar.set_ticks([], minor=True)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))


def _state(axes: Axes, found: Agreement, gain: float = math.nan) -> None:
    lines = [f"n = {plural(found.n, 'pair')}"]
    if math.isfinite(found.pearson):
        lines += [f"Pearson {fixed(found.pearson)}, Spearman {fixed(found.spearman)}"]
    if math.isfinite(gain):
        lines += [f"mean optimism {fixed(gain, 3)}"]
    axes.set_title("\n".join(lines), fontsize=7.5, linespacing=1.3)


def describe_logit(activation_r: ArrayLike, logit_r: ArrayLike) -> Caption:
    """What the picture shows and what to see in it."""
    found = agreement(activation_r, logit_r)
    x, y = _both(activation_r, logit_r)
    odd = int(((x >= 0.5) & (y <= 0)).sum())
    text = (
        "Each matched pair's activation similarity (do they fire on the same tokens?) against its logit-weight "
        f"similarity (do they push the same tokens?). {_strength(found)} {plural(odd, 'pair')} that fire alike "
        "(r ≥ 0.5) push in unrelated or opposite directions (logit r ≤ 0): such a pair may be a coincidence of the "
        "text, or reach the output by another way than the direct path."
    )
    return Caption(_left_out(text, found), f"Scatter plot of {plural(found.n, 'pair')}. {_strength(found)}")


def describe_held_out(chosen: ArrayLike, held_out: ArrayLike) -> Caption:
    """What the picture shows and what to see in it."""
    found, gain = agreement(chosen, held_out), optimism(chosen, held_out)
    x, y = _both(chosen, held_out)
    below = float((y < x).mean()) if x.size else NAN
    text = (
        "Each pair's r on the documents that chose it against its r on documents that did not. On the dashed line "
        f"choosing would cost nothing; {percent(below)} of pairs lie below it, and the mean difference is "
        f"{fixed(gain, 3)}. Points far below the line are partners of luck."
    )
    return Caption(
        _left_out(text, found), f"Scatter plot of {plural(found.n, 'pair')}; mean optimism {fixed(gain, 3)}."
    )


def _strength(found: Agreement) -> str:
    if not math.isfinite(found.pearson):
        return "There are too few pairs for a correlation of the two."
    word = "hardly" if abs(found.pearson) < 0.2 else "loosely" if abs(found.pearson) < 0.6 else "closely"
    return (
        f"The two go together {word} (Pearson {fixed(found.pearson)}, Spearman {fixed(found.spearman)}, "
        f"n = {count(found.n)})."
    )


def _left_out(text: str, found: Agreement) -> str:
    return f"{text} {plural(found.left_out, 'pair')} without both numbers are left out." if found.left_out else text

"""Scatter plots of two numbers of the same pairs."""

import math

from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from universality.formatting import count, fixed, percent, plural
from universality.plot.pair_points import Agreement, draw_held_out, draw_logit, known_both, optimism, quantile_95
from universality.plot.style import COLUMN, new_figure, styled
from universality.report.data import NAN, Caption


@styled
def activation_against_logit(activation_r: ArrayLike, logit_r: ArrayLike, by_chance: ArrayLike = ()) -> Figure:
    """Plot logit-weight r [n_pairs] against activation r; see `universality.plot.logit`."""
    figure = new_figure(COLUMN * 1.25, 3.3)
    draw_logit(figure.subplots(), activation_r, logit_r, by_chance)
    return figure


@styled
def chosen_against_held_out(chosen: ArrayLike, held_out: ArrayLike) -> Figure:
    """Plot held-out r [n_pairs] against chosen r; see `universality.plot.held_out`."""
    figure = new_figure(COLUMN * 1.25, 3.3)
    draw_held_out(figure.subplots(), chosen, held_out)
    return figure


def describe_logit(activation_r: ArrayLike, logit_r: ArrayLike, by_chance: ArrayLike = ()) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    both = Agreement.of(activation_r, logit_r)
    x, y = known_both(activation_r, logit_r)
    odd = int(((x >= 0.5) & (y <= 0)).sum())
    text = (
        "Activation similarity of each matched pair (do both features fire on the same tokens?) against its "
        f"logit-weight similarity (do both promote the same tokens?). {_strength(both)} {plural(odd, 'pair')} "
        "that fire alike "
        "(r ≥ 0.5) have unrelated or opposite direct effects (logit r ≤ 0). Such a pair may be a coincidence of the "
        "text, or act on the output through later layers."
    )
    if math.isfinite(level := quantile_95(by_chance)):
        above = float((y > level).mean()) if y.size else NAN
        text += (
            f" Dashed: 95% of pairs drawn at random from features that fire about as often lie below {fixed(level)}; "
            f"{percent(above)} of the matched pairs lie above."
        )
    return Caption(_left_out(text, both), f"Scatter plot of {plural(both.n, 'pair')}. {_strength(both)}")


def describe_held_out(chosen: ArrayLike, held_out: ArrayLike) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    both, gain = Agreement.of(chosen, held_out), optimism(chosen, held_out)
    x, y = known_both(chosen, held_out)
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

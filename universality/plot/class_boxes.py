"""Similarity of pairs by class: by firing count, since rare features match by luck or not at all, or by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from universality.errors import UniversalityError
from universality.formatting import count, percent, plural
from universality.plot.pair_table import PairTable, frame_columns, is_calibration, pair_frame
from universality.plot.style import BLUE, COLUMN, GREY, INK, NAME, PALE, drawable_names, new_axes, say, styled

Values = np.ndarray[Any, np.dtype[np.float64]]
FIRINGS = "firings of the pair's rarer feature"
DENSITY = "share of tokens on which the pair's rarer feature fires"
MOST_KINDS = 15
"""Kinds with a box of their own; the rarer ones share one."""
MOST_UPRIGHT = 8
"""Classes whose labels are written in one line; labels of more are turned."""
MOST_LETTERS = 80
"""Letters of all labels together, if each were as long as the longest, that fit beneath the axes in one line."""
NULL = "95% of the null lies below"


@dataclass(frozen=True, eq=False)
class Stratum:
    """Pairs of one class.

    Parameters
    ----------
    label
        Name of the class, such as ``1k–3.2k`` firings.
    r
        [n_pairs] held-out r of the scored pairs.
    null_quantile
        95% quantile of the null's scores in this class; NaN without a null.
    """

    label: str
    r: Values
    null_quantile: float = float("nan")


@styled
def strata(
    pairs: PairTable,
    by: str | ArrayLike = "firings",
    *,
    edges: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw boxes of the held-out r of pairs, one for each class of firing counts or of other numbers, or for each kind.

    A box has the median, the quartiles, and whiskers from 5% to 95% of the pairs; beneath it stands its class, above it
    the number of its pairs. Pairs without a held-out r are left out. The title states the number of pairs that are in
    no class, such as those that fire too rarely for a null.

    Parameters
    ----------
    pairs
        A calibration, or a table of pairs with the column ``held_out``.
    by
        "firings" of the pair's rarer feature: for a calibration in the classes of its null, whose 95% quantile is drawn
        in each; a table needs the columns ``count_a`` and ``count_b`` or ``row_density`` and ``col_density`` (then the
        classes are of shares of tokens). Or a column of the table, such as "row_kind" in `Study.pairs`, or one value a
        pair [n_pairs]. Numbers are cut into classes, texts are kinds, the 15 commonest of which have a box of their
        own.
    edges
        [n_classes + 1] rising bounds of the classes of numbers, of which the last may be infinite. By default half
        decades, in which every pair has its class.
    ax
        Axes to draw into; new ones by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    UniversalityError
        If the table lacks a column, the values do not fit the pairs, or numbers are not positive and have no ``edges``.

    Examples
    --------
    >>> pairs = pd.DataFrame({"held_out": [0.2, 0.4, 0.9], "row_kind": ["code", "code", "prose"]})
    >>> axes = strata(pairs, by="row_kind")
    >>> [label.get_text() for label in axes.get_xticklabels()]
    ['code', 'prose']
    """
    classes, n_scored, xlabel = _classes(pairs, by, edges)
    axes = new_axes(max(COLUMN * 1.45, 0.5 * len(classes)), 3.1) if ax is None else ax
    draw_strata(axes, classes, xlabel)
    if outside := n_scored - sum(stratum.r.size for stratum in classes):
        axes.set_title(f"{plural(outside, 'pair')} in no class", fontsize=7.5, pad=14)  # above the numbers of pairs
    if any(np.isfinite(stratum.null_quantile) for stratum in classes):
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.04), handlelength=1.2)
    return axes


def _classes(pairs: PairTable, by: str | ArrayLike, edges: ArrayLike | None) -> tuple[tuple[Stratum, ...], int, str]:
    """Return the classes, the number of pairs with a held-out r, and the name of what the classes are of."""
    if isinstance(by, str) and by == "firings" and edges is None and is_calibration(pairs) and pairs.chances:
        null = pairs.chances[0]  # the edges bound counts on the null's blocks, not those on all of the choosing half
        tau = pairs.strata()["tau"].to_numpy(np.float64)
        firings, scored = np.minimum(null.count_a, null.count_b), ~np.isnan(pairs.held_out)
        return strata_by_number(firings, pairs.held_out, pairs.edges, tau), int(scored.sum()), FIRINGS
    frame = pair_frame(pairs, "strata")
    (r,) = frame_columns(frame, ("held_out",), "strata")
    values, name = _values(frame, by)
    if values.size != r.size:
        raise UniversalityError(f"strata: expected one value for each of {r.size} pairs, found {values.size}")
    scored = ~np.isnan(r)
    n_scored = int(scored.sum())
    if values.dtype.kind in "fiub":
        if edges is None and (values[scored] <= 0).any():
            raise UniversalityError(
                f"strata: {name or 'the values'} go down to {values[scored].min():g}, and half decades need positive "
                "numbers; pass edges=[…], the bounds of the classes"
            )
        shares = "density" in name or name == DENSITY
        return strata_by_number(values, r, edges, shares=shares), n_scored, name
    return strata_by_kind(values.astype(np.str_), r), n_scored, name


def _values(frame: pd.DataFrame, by: str | ArrayLike) -> tuple[npt.NDArray[Any], str]:
    """Return one value a pair, and their name."""
    if not isinstance(by, str):
        return np.asarray(by).ravel(), ""
    if by == "firings":
        named, name = ("count_a", "count_b"), FIRINGS
        if "count_a" not in frame and "row_density" in frame:
            named, name = ("row_density", "col_density"), DENSITY
        return np.minimum(*frame_columns(frame, named, "strata")), name
    if by not in frame:
        frame_columns(frame, (by,), "strata")
    column = frame[by]
    number = column.dtype.kind in "fiub"
    return column.to_numpy(np.float64) if number else column.fillna("none").to_numpy(np.str_), by.replace("_", " ")


def strata_by_number(
    values: ArrayLike,
    r: ArrayLike,
    edges: ArrayLike | None = None,
    null_quantiles: ArrayLike | None = None,
    shares: bool = False,
) -> tuple[Stratum, ...]:
    """Divide pairs into classes of firing counts or densities, without those that lack r or lie outside the edges.

    Classes without pairs are left out.

    Parameters
    ----------
    values, r
        [n_pairs] firings of the pair's rarer feature (or another number), and its held-out r.
    edges
        [n_strata + 1] rising bounds (the last may be infinite), as ``Calibration.edges``; half decades by default.
    null_quantiles
        [n_strata] 95% quantile of the null in each class, as in ``Calibration.strata()``.
    shares
        Whether the values are shares, which labels give in percent.
    """
    counts, scores = np.asarray(values, dtype=np.float64).ravel(), np.asarray(r, dtype=np.float64).ravel()
    if counts.size != scores.size:
        raise UniversalityError(f"expected a firing count for every pair, found {counts.size} for {scores.size} pairs")
    bounds = _half_decades(counts) if edges is None else np.asarray(edges, dtype=np.float64)
    if (np.diff(bounds) <= 0).any():
        raise UniversalityError(f"strata: expected rising edges, found {bounds.tolist()}")
    n = max(0, bounds.size - 1)
    quantiles = np.full(n, np.nan) if null_quantiles is None else np.asarray(null_quantiles, dtype=np.float64)
    if quantiles.size != n:
        raise UniversalityError(f"expected a null quantile for each of {n} strata, found {quantiles.size}")
    classes = []
    for low, high, quantile in zip(bounds[:-1], bounds[1:], quantiles, strict=True):
        inside = scores[(counts >= low) & (counts < high) & ~np.isnan(scores)]
        if inside.size:
            classes.append(Stratum(_range(float(low), float(high), shares), inside, float(quantile)))
    return tuple(classes)


def strata_by_kind(kinds: npt.NDArray[np.str_], r: Values) -> tuple[Stratum, ...]:
    """Divide pairs by kind, the commonest first; pairs without r are left out, and rare kinds are put together."""
    scored = ~np.isnan(r)
    names, sizes = np.unique(kinds[scored], return_counts=True)
    ordered = names[np.argsort(-sizes, kind="stable")]
    shown, others = ordered[:MOST_KINDS], ordered[MOST_KINDS:]
    classes = [
        Stratum(label, r[scored & (kinds == kind)])
        for kind, label in zip(shown, drawable_names(shown.tolist(), NAME), strict=True)
    ]
    if others.size:
        classes.append(Stratum(f"{others.size} other kinds", r[scored & np.isin(kinds, others)]))
    return tuple(classes)


def _half_decades(counts: Values) -> Values:
    positive = counts[counts > 0]
    if not positive.size:
        return np.zeros(0)
    first, last = np.floor(2 * np.log10(positive.min())), np.floor(2 * np.log10(positive.max())) + 1
    return np.asarray(10.0 ** (np.arange(first, last + 1) / 2))


def _range(low: float, high: float, shares: bool) -> str:
    """Write the bounds of a class in short form: ``1k–3.2k``."""
    write = _percent if shares else _short
    return f"{write(low)}+" if np.isinf(high) else f"{write(low)}–{write(high)}"


def _percent(share: float) -> str:
    """``30%``, ``0.03%``: one significant digit below 10%."""
    return percent(share, max(0, int(-np.floor(np.log10(share))) - 2) if share > 0 else 0)


def _short(value: float) -> str:
    """``0.25``, ``316``, ``3.2k``, ``1.2M``."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}{letter}" if value < 10 * size else f"{value / size:.0f}{letter}"
    return f"{value:.0f}" if value >= 10 or value == round(value) else f"{value:.2g}"


def draw_strata(axes: Axes, classes: Sequence[Stratum], xlabel: str = FIRINGS) -> None:
    """Draw a box a class with median, quartiles, and whiskers from 5% to 95%, beside the null's quantile."""
    axes.axhline(0, color=PALE, linewidth=0.7, zorder=0)
    axes.set(xlabel=xlabel, ylabel="held-out r")
    if not classes:
        say(axes, "no pairs")
        return
    boxes = [_box(stratum) for stratum in classes]
    axes.bxp(
        boxes,
        showfliers=False,
        widths=0.62,
        patch_artist=True,
        boxprops={"facecolor": "#CFE3F1", "edgecolor": BLUE, "linewidth": 0.8},
        medianprops={"color": BLUE, "linewidth": 1.8},
        whiskerprops={"color": BLUE, "linewidth": 0.8},
        capprops={"color": BLUE, "linewidth": 0.8},
    )
    places = np.arange(1, len(classes) + 1)
    null = np.array([stratum.null_quantile for stratum in classes])
    if np.isfinite(null).any():
        axes.plot(places, null, "_", color=INK, markersize=14, markeredgewidth=1.4, label=NULL)
    labels = [stratum.label for stratum in classes]
    axes.set_xticks(places, labels, fontsize=6.5)
    if len(labels) > MOST_UPRIGHT or len(labels) * max(map(len, labels)) > MOST_LETTERS:
        for text in axes.get_xticklabels():
            text.set(rotation=30, horizontalalignment="right", rotation_mode="anchor")
    for place, stratum in zip(places, classes, strict=True):
        name = "n=" if place == 1 or len(classes) <= MOST_UPRIGHT else ""  # of many, the numbers alone have room
        axes.annotate(
            f"{name}{count(stratum.r.size)}",
            (place, 1.0),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="bottom",
            fontsize=6,
            color=GREY,
        )
    lowest = min(float(box["whislo"]) for box in boxes)
    axes.set_ylim(min(-0.05, lowest - 0.05), 1.02)


def _box(stratum: Stratum) -> dict[str, Any]:
    low, first, median, third, high = np.quantile(stratum.r, (0.05, 0.25, 0.5, 0.75, 0.95))
    return {"whislo": low, "q1": first, "med": median, "q3": third, "whishi": high, "fliers": []}

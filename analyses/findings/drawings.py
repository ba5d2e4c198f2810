"""Draw the findings' figures from their tables."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from causes import FACTORS
from lengths import LENGTHS, Length
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from stability import KS, WIDTH, K

from universality.plot.style import BLUE, CYCLE, GREEN, GREY, ORANGE, PAGE, VERMILION, new_figure, styled

SONG = (0.514, 0.742, 0.837, 0.888, 0.964)
"""PW-MCC by class of frequency in Song et al. 2025: TopK, 2^14 features, Pythia-160M residual stream 8."""
LABELS = {"shared": "shared at cosine 0.7", "pw_mcc": "mean decoder cosine (PW-MCC)", "r": "mean held-out r"}


@styled
def stability(table: pd.DataFrame) -> Figure:
    """Draw what two SAE seeds share, against k and width (early dashed, late solid), and against tokens."""
    figure = new_figure(PAGE, 2.5)
    topk = table[table["architecture"] == "topk"]
    axes = figure.subplots(1, 3, sharey=True)
    for length in (length for length in LENGTHS.values() if length.name in set(topk["training"])):
        full, dashes = topk["tokens"] == length.tokens, ":" if length.name == "early" else "-"
        by_k = topk[full & topk["sparsity"].isin(KS) & (topk["width"] == WIDTH)]
        by_width = topk[full & (topk["sparsity"] == K)]
        _shares(axes[0], by_k, "sparsity", dashes, str(length))
        _shares(axes[1], by_width, "width", dashes, str(length))
    _shares(axes[2], topk[(topk["sparsity"] == K) & (topk["width"] == WIDTH)], "tokens", "-", "")
    for ax, label in zip(axes, ("k", "width", "tokens learnt from"), strict=True):
        ax.set_xlabel(label)
        ax.set_ylim(0, 1)
    axes[0].set_ylabel("of two SAE seeds")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _shares(ax: Axes, part: pd.DataFrame, column: str, dashes: str, length: str) -> None:
    """Draw the measures of `LABELS` against a column."""
    for colour, name in zip((BLUE, VERMILION, GREEN), LABELS, strict=True):
        _errors(ax, part.sort_values(column), column, name, colour, f"{LABELS[name]}, {length}", dashes)
    ax.set_xscale("log", base=2)
    at = part[column].sort_values()
    every_other = at[::2] if len(at) > 4 else at
    ax.set_xticks(every_other, [f"{v / 1e6:g} M" if column == "tokens" else f"{v:,.0f}" for v in every_other])


@styled
def topk_and_relu(table: pd.DataFrame, length: Length) -> Figure:
    """Draw stability against L0, TopK of two widths and ReLU; labels count living features where some are dead."""
    figure = new_figure(PAGE, 2.8)
    full = table[table["tokens"] == length.tokens]
    groups = {
        f"TopK, width {WIDTH:,}": (full[(full["architecture"] == "topk") & (full["width"] == WIDTH)], BLUE),
        "TopK, width 512": (full[(full["architecture"] == "topk") & (full["width"] == 512)], ORANGE),
        f"ReLU, width {WIDTH:,}": (full[full["architecture"] == "relu"], VERMILION),
    }
    axes = figure.subplots(1, 3)
    for ax, name in zip(axes, LABELS, strict=True):
        for label, (rows, colour) in groups.items():
            part = rows.sort_values("l0")
            _errors(ax, part, "l0", name, colour, label)
        relu = groups[f"ReLU, width {WIDTH:,}"][0]
        short = relu[relu["alive"] < 0.99 * WIDTH]
        for x, y, alive in zip(short["l0"], short[name], short["alive"], strict=True):
            ax.annotate(f"{alive:.0f}", (x, y), (0, 7), textcoords="offset points", fontsize=5.5, color=VERMILION,
                        ha="center")  # fmt: skip
        ax.set_xscale("log", base=2)
        ax.set_xticks(KS, [str(k) for k in KS])
        ax.set_ylim(0, 1)
        ax.set_xlabel("features that fire on a token (L0)")
        ax.set_title(LABELS[name])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


@styled
def frequency(classes: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw PW-MCC by firing frequency, beside the published values."""
    figure = new_figure(PAGE * 0.6, 2.6)
    ax = figure.subplots()
    names = [f"{low:g}–{high:g}" if np.isfinite(high) else f"> {low:g}" for low, high in
             next(iter(classes.values()))[["low", "high"]].to_numpy()]  # fmt: skip
    x = np.arange(len(names))
    ax.plot(x, SONG, "o--", color=GREY, markersize=4, label="Song et al. 2025, TopK")
    for shift, (colour, (label, part)) in enumerate(zip(CYCLE, classes.items(), strict=False)):
        at = x + 0.08 * (shift + 1)
        reach = np.abs(part[["pw_mcc_low", "pw_mcc_high"]].to_numpy().T - part["pw_mcc"].to_numpy())
        ax.errorbar(at, part["pw_mcc"], reach, color=colour, marker="o", markersize=3, capsize=2, label=label)
    ax.set_xticks(x, names)
    ax.set_xlabel("firings per million tokens")
    ax.set_ylabel("mean decoder cosine")
    ax.set_ylim(0, 1)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


@styled
def causes(pairs: pd.DataFrame) -> Figure:
    """Draw r of every two SAEs of the crossed design, by the factors in which they differ."""
    means = pairs.groupby("differs")["r"].mean().sort_values(ascending=False)
    figure = new_figure(PAGE, 0.22 * len(means) + 0.9)
    ax = figure.subplots()
    for y, differs in enumerate(means.index):
        values = pairs.loc[[d == differs for d in pairs["differs"]], "r"]
        label, colour = ("two models", VERMILION) if differs[0] or differs[1] else ("one model", BLUE)
        ax.plot(values, np.full(len(values), y), ".", color=colour, markersize=4, alpha=0.7, label=label)
        ax.plot([means[differs]], [y], "|", color="black", markersize=9, label="mean")
    names = [" + ".join(f for f, is_so in zip(FACTORS, d, strict=True) if is_so) for d in means.index]
    ax.set_yticks(range(len(means)), names)
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.set_xlabel("mean held-out r of matched features")
    entries = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))  # one for each label
    ax.legend(entries.values(), entries.keys(), loc="lower right", title="two SAEs of")
    return figure


@styled
def agreement(table: pd.DataFrame) -> Figure:
    """Draw the share of recurring features against explained variance; the plain trainer's lengths are connected."""
    figure = new_figure(PAGE, 2.8)
    kinds = list(dict.fromkeys(table["pairs"]))
    axes = figure.subplots(1, len(kinds), sharex=True, sharey=True, squeeze=False)[0]
    colours = dict(zip(dict.fromkeys(table["variant"]), (*CYCLE, GREY), strict=False))
    for ax, kind in zip(axes, kinds, strict=True):
        for variant, rows in table[table["pairs"] == kind].groupby("variant", sort=False):
            points = rows.sort_values("explained_variance")
            _errors(ax, points, "explained_variance", "recurs", colours[variant], str(variant))
        ax.set_xlabel("explained variance, held out")
        ax.set_title(kind)
    axes[0].set_ylabel("living features with r ≥ 0.7, q ≤ 0.05")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


@styled
def three_measures(pairs: pd.DataFrame) -> Figure:
    """Draw logit weights and attribution of matched pairs against activations."""
    figure = new_figure(PAGE * 0.7, 2.6)
    axes = figure.subplots(1, 2, sharey=True)
    for ax, name in zip(axes, ("logit", "attribution"), strict=True):
        ax.plot(pairs["activation"], pairs[name], ".", color=BLUE, markersize=2, alpha=0.4, rasterized=True)
        ax.axhline(0, color=GREY, linewidth=0.6)
        ax.set_xlabel("activation r")
        ax.set_title({"logit": "logit weights", "attribution": "attribution"}[name])
    axes[0].set_ylabel("r of the other measure")
    return figure


def _errors(ax: Axes, part: pd.DataFrame, x: str, name: str, colour: str, label: str, dashes: str = "-") -> None:
    reach = np.abs(part[[f"{name}_low", f"{name}_high"]].to_numpy().T - part[name].to_numpy())
    style = {"color": colour, "linestyle": dashes, "marker": "o", "markersize": 3, "capsize": 2}
    ax.errorbar(part[x], part[name], reach, label=label, **style)

"""Figure of best-match similarities: features, neurons, ceilings and chance together."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from universality.report.data import THRESHOLDS, Caption, Role, Sample
from universality.report.figures.style import (
    BLUE,
    GREEN,
    GREY,
    LINE,
    ORANGE,
    PAGE,
    PALE,
    PURPLE,
    in_legend,
    new_figure,
    say,
    styled,
)
from universality.report.formatting import fixed, listed, of_all, percent

LOOK: dict[Role, tuple[str, str]] = {
    "features": (BLUE, "-"),
    "ceiling": (GREEN, (0, (6, 1.5))),  # type: ignore[dict-item]
    "neurons": (ORANGE, (0, (4, 1.2, 1, 1.2))),  # type: ignore[dict-item]
    "null": (GREY, (0, (1, 1))),  # type: ignore[dict-item]
    "control": (PURPLE, (0, (2.5, 1))),  # type: ignore[dict-item]
}


@styled
def best_match_distribution(samples: Sequence[Sample]) -> Figure:
    """Draw the share of features whose best match has at least a given r, one curve per sample, medians marked.

    Features without a partner, or too rare to score, count in the share, so a curve may start below 100%. The median
    counts the same features: it is where the curve crosses one half.

    Parameters
    ----------
    samples
        Samples to draw; those without a score are named in the legend only.
    """
    figure = new_figure(PAGE, 3.1)
    axes = figure.subplots()
    for threshold in THRESHOLDS:
        axes.axvline(threshold, color=PALE, linewidth=0.7, zorder=0)
    axes.axhline(0.5, color=PALE, linewidth=0.7, zorder=0)
    lowest = 0.0
    for sample in samples:
        x, y = survival(sample)
        colour, dashes = LOOK[sample.role]
        axes.plot(x, y, color=colour, linestyle=dashes, label=_label(sample))
        if x.size:
            lowest = min(lowest, float(x[0]))
            median = sample.population().median  # NaN, and no dot, where the curve starts at one half or below
            axes.plot(
                median, _height(x, y, median), "o", color=colour, markersize=4.5, markeredgecolor="white", zorder=5
            )
    if not any(sample.population().n_scored for sample in samples):
        say(axes, "nothing was scored")
    axes.set(xlim=(max(-1.0, lowest) - 0.02, 1.02), ylim=(0, 1.03))
    axes.set(xlabel="best-match r (Pearson, held-out tokens)", ylabel="share with at least this r")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    if samples:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), labelspacing=0.9)
    return figure


def survival(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Return rising r and the share of all features, unscored ones included, that reach it: [n_scored] each."""
    x = np.sort(sample.values[~np.isnan(sample.values)])
    n = sample.values.size + sample.without
    return x, (x.size - np.arange(x.size)) / max(1, n)


def _height(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """Return the height of the curve at ``at``."""
    return float(np.interp(at, x, y))


def _label(sample: Sample) -> str:
    numbers = sample.population()
    digits = 3 if sample.role == "null" else 2
    scored = of_all(numbers.n_scored, numbers.n)
    return f"{in_legend(sample.label, LINE)}\nmedian {fixed(numbers.median, digits)} ({scored})"


def describe_distribution(samples: Sequence[Sample]) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    populations = [sample.population() for sample in samples]
    units = next((p.label for p in populations if p.role == "neurons"), "neurons")
    medians = "; ".join(
        f"{p.label}: median {fixed(p.median)}, {percent(p.shares[0])} at r ≥ 0.5 ({of_all(p.n_scored, p.n)})"
        for p in populations
    )
    bounds = {
        "null": "chance (nothing shared)",
        "neurons": f"{units} (the models' own units)",
        "ceiling": "the ceilings (the same model, another SAE seed)",
    }
    beside = listed([f"from {bound}" for role, bound in bounds.items() if any(p.role == role for p in populations)])
    text = (
        "For every r on the horizontal axis, the share of features whose best match has at least this r. Features "
        "without a score reach no r, so a curve starts at the share that was scored. Dots mark medians, where a curve "
        "crosses one half; grey lines mark r = 0.5, r = 0.7 and one half. Curves further to the right are more similar."
    )
    if beside:
        text += f" Compare the distance of features {beside}, rather than their distance from r = 1."
    return Caption(text, f"Curves of best-match correlations. {medians or 'No samples'}.")

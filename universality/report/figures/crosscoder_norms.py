"""Figure of the relative decoder norms of a crosscoder, which show the features that two models share."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator
from numpy.typing import NDArray

from universality.formatting import count, percent
from universality.plot.style import (
    BLUE,
    COLUMN,
    GREY,
    IN_PANEL,
    INK,
    PALE,
    drawable_names,
    new_figure,
    say,
    styled,
)
from universality.report.data import Caption
from universality.statistics.crosscoder_classes import CLASSES, EXCLUSIVE, SHARED, feature_classes

BINS = 40
Norms = NDArray[np.float64]
Flags = NDArray[np.bool_]


@styled
def relative_norms(norm: Norms, partners: Flags, unpaired: Norms, models: tuple[str, str]) -> Figure:
    """Draw a histogram of relative decoder norms, with the features marked on which the matching agrees.

    Parameters
    ----------
    norm : [n_features]
        Relative norm in the second model: 0 for a feature of the first alone, 1 for one of the second alone.
    partners : [n_features]
        Whether the SAE features that fire most like it, one in each model, are partners of each other.
    unpaired : [n_control]
        Relative norms of a crosscoder trained on the two models' tokens in different orders.
    models
        Names of the first and the second.
    """
    figure = new_figure(1.3 * COLUMN, 2.3)
    axes = figure.subplots()
    edges = np.linspace(0, 1, BINS + 1)
    for bound in (EXCLUSIVE, SHARED, 1 - SHARED, 1 - EXCLUSIVE):
        axes.axvline(bound, color=PALE, linewidth=0.7, zorder=0)
    axes.stairs(np.histogram(norm, edges)[0], edges, fill=True, color=PALE, label="all features")
    axes.stairs(
        np.histogram(norm[partners], edges)[0], edges, fill=True, color=BLUE, label="closest SAE features are partners"
    )
    axes.stairs(np.histogram(norm, edges)[0], edges, color=GREY, linewidth=0.6)
    if unpaired.size:
        axes.stairs(
            np.histogram(unpaired, edges)[0], edges, color=INK, linestyle=(0, (1, 1)), label="trained on unpaired text"
        )
    axes.set(xlim=(0, 1), ylabel="features", xlabel="relative norm of the decoder row")
    axes.xaxis.set_major_locator(FixedLocator([0, EXCLUSIVE, SHARED, 0.5, 1 - SHARED, 1 - EXCLUSIVE, 1]))
    first, second = drawable_names(models, IN_PANEL)
    ends = [f"0\n{first} alone", "0.1", "0.3", "0.5\nboth equally", "0.7", "0.9", f"1\n{second} alone"]
    axes.xaxis.set_major_formatter(FixedFormatter(ends))
    if norm.size:
        axes.legend(loc="upper left")
        axes.set_ylim(top=axes.get_ylim()[1] * 1.2)  # room for the legend
    else:
        say(axes, "no living features")
    return figure


def describe_relative_norms(norm: Norms, partners: Flags, unpaired: Norms, models: tuple[str, str]) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    classes = feature_classes(norm)
    first, second = models
    labels = dict(
        zip(
            CLASSES, (f"{first} alone", f"mostly {first}", "shared", f"mostly {second}", f"{second} alone"), strict=True
        )
    )
    counts = "; ".join(
        f"{labels[name]}: {count(int(members.sum()))}"
        + (f", {percent(float(partners[members].mean()))} with SAE features that are partners" if members.any() else "")
        for name in CLASSES
        for members in [classes == name]
    )
    text = (
        "One dictionary learnt for both models at once (a crosscoder). Each feature has a decoder row for either "
        f"model; the horizontal axis is the share of {second} in the two rows' norms, grey lines bound the classes. "
        "Blue marks features on which the matching of separate SAEs agrees: the SAE features that fire most like them, "
        "one in each model, are partners. The dotted line is a crosscoder of the same models trained on unrelated "
        "tokens, which shares features by chance only. If the two methods agree, blue is frequent where features are "
        "shared and absent at both ends."
    )
    return Caption(text, f"Histogram of relative decoder norms. {counts if norm.size else 'No living features'}.")

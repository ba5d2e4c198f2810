"""Which features of a crosscoder two models share: the relative norms of its decoder rows."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator
from numpy.typing import NDArray

from universality.report.data import Caption
from universality.report.figures.style import (
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
from universality.report.formatting import count, percent
from universality.statistics.crosscoder_classes import CLASSES, EXCLUSIVE, SHARED, feature_classes

BINS = 40
Norms = NDArray[np.float64]
Flags = NDArray[np.bool_]


@styled
def relative_norms(norm: Norms, partners: Flags, unpaired: Norms, models: tuple[str, str]) -> Figure:
    """Histogram of relative decoder norms, those features marked on which the matching agrees.

    Parameters
    ----------
    norm : [n_features]
        Of the second model: 0 for a feature of the first alone, 1 for one of the second.
    partners : [n_features]
        Whether the SAE features that fire most like it, one in each model, are each other's partner.
    unpaired : [n_control]
        The same of a crosscoder that saw the two models' tokens in different orders.
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
        np.histogram(norm[partners], edges)[0], edges, fill=True, color=BLUE, label="their SAE features are partners"
    )
    axes.stairs(np.histogram(norm, edges)[0], edges, color=GREY, linewidth=0.6)
    if unpaired.size:
        axes.stairs(
            np.histogram(unpaired, edges)[0], edges, color=INK, linestyle=(0, (1, 1)), label="learnt from unpaired text"
        )
    axes.set(xlim=(0, 1), ylabel="features", xlabel="relative norm of the decoder row")
    axes.xaxis.set_major_locator(FixedLocator([0, EXCLUSIVE, SHARED, 0.5, 1 - SHARED, 1 - EXCLUSIVE, 1]))
    first, second = drawable_names(models, IN_PANEL)
    ends = [f"0\n{first} alone", "0.1", "0.3", "0.5\nboth alike", "0.7", "0.9", f"1\n{second} alone"]
    axes.xaxis.set_major_formatter(FixedFormatter(ends))
    if norm.size:
        axes.legend(loc="upper left")
        axes.set_ylim(top=axes.get_ylim()[1] * 1.2)  # room for the legend
    else:
        say(axes, "no living features")
    return figure


def describe_relative_norms(norm: Norms, partners: Flags, unpaired: Norms, models: tuple[str, str]) -> Caption:
    """What the picture shows and what to see in it."""
    classes = feature_classes(norm)
    first, second = models
    words = dict(
        zip(
            CLASSES, (f"{first} alone", f"mostly {first}", "shared", f"mostly {second}", f"{second} alone"), strict=True
        )
    )
    found = "; ".join(
        f"{words[name]}: {count(int(here.sum()))}"
        + (f", {percent(float(partners[here].mean()))} with SAE features that are partners" if here.any() else "")
        for name in CLASSES
        for here in [classes == name]
    )
    text = (
        "One dictionary learnt for both models at once (a crosscoder). Each feature has a decoder row for either "
        f"model; the horizontal axis is the share of {second} in the two rows' norms, grey lines bound the classes. "
        "Blue are features for which the matching of separate SAEs says the same: the SAE features that fire most "
        "like them, one in each model, are each other's partner. The dotted line is a crosscoder of the same "
        "models whose tokens did not belong together: what it shares is chance. Look whether blue stands where "
        "features are shared and is missing at both ends."
    )
    return Caption(text, f"Histogram of relative decoder norms. {found if norm.size else 'No living features'}.")

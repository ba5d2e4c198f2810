"""Figure of the relative decoder norms of a crosscoder, which show the features that two models share."""

from matplotlib.figure import Figure

from universality.arrays import BoolArray, FloatArray
from universality.formatting import count, percent
from universality.plot.decoder_norms import draw_crosscoder
from universality.plot.style import COLUMN, new_figure, styled
from universality.report.data import Caption
from universality.statistics.crosscoder_classes import CLASSES, feature_classes


@styled
def relative_norms(norm: FloatArray, partners: BoolArray, unpaired: FloatArray, models: tuple[str, str]) -> Figure:
    """Draw relative norms of the features [n_features] and of the control; see `universality.plot.crosscoder`."""
    figure = new_figure(1.3 * COLUMN, 2.3)
    draw_crosscoder(figure.subplots(), norm, partners, unpaired, models)
    return figure


def describe_relative_norms(
    norm: FloatArray, partners: BoolArray, unpaired: FloatArray, models: tuple[str, str]
) -> Caption:
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

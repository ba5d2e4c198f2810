"""Figure of labels: what explanations lose on other features, against the similarity of these."""

import numpy as np
from matplotlib.figure import Figure

from universality.formatting import fixed, listed, plural
from universality.plot.style import COLUMN, PAGE, new_figure, styled
from universality.plot.transfer_by_similarity import Against, TransferPoints, draw_transfer
from universality.report.data import Caption

_NAMES = {"partner": "partners", "second seed of A": "second SAE seeds of A", "equal density": "random features"}


@styled
def transfer_against_similarity(pairs: TransferPoints, name: str) -> Figure:
    """Plot the loss of a score against r, and against the agreement of effects where it is known."""
    panels: list[Against] = ["r", "effects"] if has_effects(pairs) else ["r"]
    figure = new_figure(PAGE if len(panels) > 1 else COLUMN * 1.5, 3.0)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    drawn = [draw_transfer(panel, pairs, name, against) for panel, against in zip(axes, panels, strict=True)]
    for panel in axes[1:]:
        panel.set_ylabel("")
    if drawn[0]:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", labelspacing=0.9)
    return figure


def has_effects(pairs: TransferPoints) -> bool:
    """Return whether any pair with a loss has an agreement of effects."""
    return bool((np.isfinite(pairs.effect_r) & np.isfinite(pairs.loss)).any())


def describe_transfer(pairs: TransferPoints, name: str) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    means = []
    for pairing, shown in _NAMES.items():
        losses = pairs.loss[(pairs.pairing == pairing) & np.isfinite(pairs.loss)]
        if losses.size:
            means.append(f"{shown} {fixed(float(losses.mean()))}")
    text = (
        f"How much of its {name} score an explanation loses on another feature, against the r of the two features' "
        "activations. Points are pairs, lines are means over pairs of similar r. Where the line of partners lies above "
        "that of second SAE seeds, explanations lose more across models than r accounts for. "
    )
    if has_effects(pairs):
        text += "Right: partners alone, against the agreement of their effects. "
    known = int((np.isfinite(pairs.loss) & np.isfinite(pairs.r)).sum())
    return Caption(
        f"{text}Mean loss: {listed(means) or 'none'}.",
        f"Scatter plot of {plural(known, 'pair')}. Mean loss of {name}: {listed(means) or 'none'}.",
    )

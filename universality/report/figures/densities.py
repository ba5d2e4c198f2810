"""Figure of firing rates."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from universality.formatting import count, percent
from universality.plot.firing_rates import DensitySample, density_edges, draw_densities, label_densities
from universality.plot.style import IN_PANEL, PAGE, in_legend, new_figure, say, styled
from universality.report.data import Caption


@styled
def feature_densities(samples: Sequence[DensitySample]) -> Figure:
    """Draw histograms of log10 firing rates: one panel per width, one outline per model.

    Parameters
    ----------
    samples
        Dictionaries of any models and widths; dead features are counted in the legend.
    """
    widths = sorted({sample.width for sample in samples}) or [0]
    models = list(dict.fromkeys(sample.model for sample in samples))
    figure = new_figure(PAGE, 2.3)
    panels = figure.subplots(1, len(widths), sharex=True, sharey=True, squeeze=False)[0]
    edges = density_edges(samples)
    for axes, width in zip(panels, widths, strict=True):
        for sample in (s for s in samples if s.width == width):
            label = f"{in_legend(sample.model, IN_PANEL)}: {count(int((sample.density <= 0).sum()))} dead"
            draw_densities(axes, sample, edges, models.index(sample.model), label)
        axes.set_title(f"{count(width)} features" if width else "")
        if samples:
            axes.legend(loc="upper left", handlelength=1.6).set_in_layout(False)
    for axes in panels:
        label_densities(axes, edges)
    panels[0].set_ylabel("share of features")
    panels[0].set_ylim(bottom=0, top=panels[0].get_ylim()[1] * 1.25)  # room for the legend
    if not samples:
        say(panels[0], "no dictionaries")
    return figure


def describe_densities(samples: Sequence[DensitySample]) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    rows = [
        f"{s.model}, {count(s.width)} wide: median {_rate(s)}, {count(int((s.density <= 0).sum()))} dead"
        for s in samples
    ]
    text = (
        "Share of held-out tokens on which each living feature fires, on a logarithmic scale with five bins a decade; "
        "dead features are counted in the legend. The outlines of one width should coincide: dictionaries whose "
        "features fire at different rates cannot match well. A second peak at very low rates would be features that "
        "represent nothing."
    )
    return Caption(text, f"Histograms of firing rates. {'; '.join(rows) or 'No dictionaries'}.")


def _rate(sample: DensitySample) -> str:
    living = sample.density[sample.density > 0]
    return percent(float(np.median(living)), 2) if living.size else "no living feature"

"""Figure of firing rates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator, PercentFormatter

from universality.formatting import count, percent, power_of_ten
from universality.plot.style import CYCLE, IN_PANEL, PAGE, in_legend, new_figure, say, styled
from universality.report.data import Caption

BINS_A_DECADE = 5
DASHES = ("-", (0, (4, 1.2)), (0, (1, 1)))


@dataclass(frozen=True, eq=False)
class DensitySample:
    """Firing rates of one dictionary.

    Parameters
    ----------
    model, width
        Model and width of the dictionary.
    density
        [n_features] share of tokens on which each feature fires; 0 for dead features.
    """

    model: str
    width: int
    density: np.ndarray[Any, np.dtype[np.float64]]


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
    edges = _edges(samples)
    for axes, width in zip(panels, widths, strict=True):
        for sample in (s for s in samples if s.width == width):
            _outline(axes, sample, edges, models.index(sample.model))
        axes.set_title(f"{count(width)} features" if width else "")
        axes.set_xlabel("share of tokens on which it fires")
        axes.set_xlim(edges[0], edges[-1])
        axes.xaxis.set_major_locator(MultipleLocator(1))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda exponent, _: power_of_ten(round(exponent))))
        if samples:
            axes.legend(loc="upper left", handlelength=1.6).set_in_layout(False)
    panels[0].set_ylabel("share of features")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1))
    panels[0].set_ylim(bottom=0, top=panels[0].get_ylim()[1] * 1.25)  # room for the legend
    if not samples:
        say(panels[0], "no dictionaries")
    return figure


def _outline(axes: Axes, sample: DensitySample, edges: np.ndarray, model: int) -> None:
    fires = sample.density > 0
    heights = np.histogram(np.log10(sample.density[fires]), edges)[0] / max(1, sample.density.size)
    dead = int((~fires).sum())
    label = f"{in_legend(sample.model, IN_PANEL)}: {count(dead)} dead"
    axes.stairs(
        heights,
        edges,
        color=CYCLE[model % len(CYCLE)],
        linestyle=DASHES[model % len(DASHES)],
        linewidth=1.2,
        label=label,
    )


def _edges(samples: Sequence[DensitySample]) -> np.ndarray:
    """Make bin edges from the decade below the rarest feature up to 1."""
    living = [sample.density[sample.density > 0] for sample in samples]
    rarest = min((float(d.min()) for d in living if d.size), default=0.1)
    lowest = min(-1, int(np.floor(np.log10(rarest))))
    return np.linspace(lowest, 0, -lowest * BINS_A_DECADE + 1)


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

"""Figure of training curves."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from universality.formatting import count, fixed
from universality.plot.style import NAME, PAGE, new_figure, say, styled
from universality.plot.training_log import MEASURES, TrainingCurve, curve_looks, draw_training
from universality.report.data import Caption


@styled
def training_curves(drawn: Sequence[TrainingCurve], unit: str = "tokens") -> Figure:
    """Draw one panel per measure and one line per run; measures that no run has are left out.

    Parameters
    ----------
    drawn, unit
        As returned by `universality.plot.training_log.curves_of`.
    """
    measures = [measure for measure in MEASURES if any(c.measure == measure for c in drawn)]
    looks = curve_looks(drawn)  # of all curves together, so that a run looks the same in every panel
    figure = new_figure(PAGE, 2.4)
    panels = figure.subplots(1, max(1, len(measures)), squeeze=False)[0]
    for axes, measure in zip(panels, measures, strict=False):
        draw_training(axes, [c for c in drawn if c.measure == measure], looks, measure)
    figure.supxlabel(f"training {unit}", fontsize=8)
    if not measures:
        say(panels[0], "nothing was logged")
    elif len(looks) > 1:
        lines, runs = panels[0].get_legend_handles_labels()
        beside = 4 if max(map(len, runs)) < NAME else 3
        figure.legend(lines, runs, loc="outside upper center", ncols=min(len(looks), beside))
    return figure


def describe_training(drawn: Sequence[TrainingCurve], unit: str = "tokens") -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    unseen = "held_out_explained_variance" in {curve.measure for curve in drawn}
    apart = ", held-out explained variance on text that no batch holds" if unseen else ""
    text = (
        f"Training over {unit}, one line per run; every number is measured on one batch before its step{apart}. Curves "
        "that still fall at the end show that longer training would change the dictionary; dead features are wasted "
        "capacity."
    )
    last = [f"{c.run} {c.measure} {fixed(c.y[-1])} at {count(c.x[-1])}" for c in drawn]
    return Caption(text, f"Training curves; last values: {'; '.join(last) or 'none'}.")

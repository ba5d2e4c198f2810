"""Figure of similarity by firing count: rare features match by luck, or not at all."""

import numpy as np
from matplotlib.figure import Figure

from universality.formatting import fixed, plural
from universality.plot.class_boxes import Stratum, draw_strata
from universality.plot.style import COLUMN, new_figure, styled
from universality.report.data import LEAST_DIFFERENCE, Caption


@styled
def similarity_by_firings(classes: tuple[Stratum, ...]) -> Figure:
    """Draw a box per class; see `universality.plot.strata`."""
    figure = new_figure(COLUMN * 1.45, 2.9)
    draw_strata(figure.subplots(), classes)
    if any(np.isfinite(stratum.null_quantile) for stratum in classes):
        figure.legend(loc="outside upper right", handlelength=1.2)
    return figure


def describe_strata(classes: tuple[Stratum, ...], n_scored: int | None = None) -> Caption:
    """Write the caption: what the figure shows, and what to look at.

    Parameters
    ----------
    n_scored
        Number of pairs with a held-out r, by default those of the classes; some fire too rarely for a class.
    """
    text = (
        "Held-out r of scored pairs by how often the rarer of the two features fires: medians, quartiles, and "
        "whiskers from 5% to 95% of pairs. Short black lines, where given, are 95% quantiles of the null."
    )
    if not classes:
        return Caption(text, "Box plot: no pairs.")
    first, last = float(np.median(classes[0].r)), float(np.median(classes[-1].r))
    word = "as similar as"
    if abs(last - first) > LEAST_DIFFERENCE:
        word = "more similar than" if last > first else "less similar than"
    if len(classes) > 1:
        text += f" The commonest features are {word} the rarest ({fixed(last)} against {fixed(first)})."
    outside = 0 if n_scored is None else n_scored - sum(stratum.r.size for stratum in classes)
    if outside:
        text += f" {plural(outside, 'pair')} with a feature too rare for these classes are left out."
    rows = [
        f"{s.label} firings: median {fixed(float(np.median(s.r)))} over {plural(s.r.size, 'pair')}" for s in classes
    ]
    return Caption(text, f"Box plot. {'; '.join(rows)}.")

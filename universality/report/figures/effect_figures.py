"""Figures of effects: what shared features carry, and whether partners do the same."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from universality.formatting import count, fixed, listed, percent, plural
from universality.matching.medians import known_median
from universality.plot.effects_by_similarity import LEVEL, EffectPoints, draw_effects
from universality.plot.loss_by_threshold import LossCurve, draw_carried, legend_entries
from universality.plot.style import COLUMN, NAME, PAGE, drawable, new_figure, say, styled
from universality.report.data import NAN, Caption

MOST_MODELS = 2
"""Models whose curves are drawn."""
LABELS = {
    "shared": "partner in the other dictionary",
    "unshared": "no such partner",
    "ceiling": "partner in a second SAE seed",
    "same mass": "random, equal mass",
    "same density": "random, equal density",
    "same number": "random, equal number",
    "none": "no feature (b_dec alone)",
}


@styled
def carried_by_shared(curves: Mapping[str, Sequence[LossCurve]]) -> Figure:
    """Draw the loss that shared features recover against the least r of a partner, one panel a model.

    Parameters
    ----------
    curves
        Model → its curves, with the roles of `universality.plot.loss_by_threshold.LOOK`.
    """
    shown = list(curves.items())[:MOST_MODELS]
    figure = new_figure(PAGE if len(shown) > 1 else COLUMN * 1.5, 2.9)
    panels = figure.subplots(1, max(1, len(shown)), sharey=True, squeeze=False)[0]
    if not shown:
        say(panels[0], "nothing was measured")
    for panel, (model, of_model) in zip(panels, shown, strict=False):
        draw_carried(panel, of_model)
        panel.set_title(f"model {drawable(model, most=NAME)}")
        legend = panel.get_legend()
        if legend is not None:
            legend.remove()
    for panel in panels[1:]:
        panel.set_ylabel("")
    drawn = [panel for panel in panels if panel.has_data()]
    if drawn:
        of_drawn = shown[list(panels).index(drawn[0])][1]
        figure.legend(*legend_entries(drawn[0], of_drawn), loc="outside right center", labelspacing=0.9)
    return figure


def describe_carried(curves: Mapping[str, Sequence[LossCurve]]) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    readings = []
    for model, of_model in list(curves.items())[:MOST_MODELS]:
        by_role = {curve.role: curve for curve in of_model}
        if "shared" in by_role and "same mass" in by_role:
            at = _shown(by_role["shared"])
            readings.append(
                f"{model} at r ≥ {by_role['shared'].threshold[at]:g}: shared "
                f"{percent(by_role['shared'].recovered[at])}, random of equal mass "
                f"{percent(by_role['same mass'].recovered[at])}"
            )
    text = (
        "Share of the loss that the SAE recovers (against mean ablation) which remains when only some of its features "
        "are kept, by the least r of a partner that counts as shared. If shared features mattered more than others, "
        f"their line would lie above that of random features of equal mass. {_bars(curves)}"
        f"Shares of two subsets do not add up. {'; '.join(readings)}."
    )
    return Caption(text, f"Line plot of recovered loss by threshold. {'; '.join(readings) or 'Nothing was measured'}.")


def _bars(curves: Mapping[str, Sequence[LossCurve]]) -> str:
    """Explain the bars where there are any: few groups of documents give no intervals."""
    drawn = any(np.isfinite(curve.low).any() for of_model in list(curves.values())[:MOST_MODELS] for curve in of_model)
    return "Bars: 95% intervals over groups of documents. " if drawn else ""


def _shown(curve: LossCurve, wanted: float = 0.7) -> int:
    return int(np.abs(curve.threshold - wanted).argmin())


@styled
def effects_against_activation(pairs: EffectPoints) -> Figure:
    """Plot the agreement of the effects of pairs against the r of their activations."""
    figure = new_figure(PAGE * 0.82, 3.3)
    draw_effects(figure.subplots(), pairs)
    return figure


def describe_effects(pairs: EffectPoints) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    both = np.isfinite(pairs.activation_r) & np.isfinite(pairs.effect_r)
    n, missing = int(both.sum()), int((~both).sum())
    alike = both & (pairs.activation_r >= 0.7)
    weak = float((pairs.effect_r[alike] < 0.3).mean()) if alike.any() else NAN
    agree = int((both & (pairs.q <= LEVEL)).sum())
    medians = [
        f"{name} {fixed(known_median(values[both]))}"
        for name, values in (
            ("pairs", pairs.effect_r),
            ("null", pairs.null_r),
            ("controls", pairs.control_r),
            ("ceiling", pairs.ceiling),
        )
        if np.isfinite(values[both]).any()
    ]
    text = (
        "Agreement of the effects of each pair (r of first-order effects divided by the norm of the loss gradient, on "
        "held-out tokens where both fire) against the similarity of their activations. Lines are medians over pairs of "
        f"similar activation r; over all pairs: {listed(medians) if medians else 'none'}. {count(agree)} pairs agree "
        f"beyond chance at q ≤ {LEVEL}. "
    )
    if alike.any():
        text += (
            f"Of the {plural(int(alike.sum()), 'pair')} that fire alike (activation r ≥ 0.7), {percent(weak)} hardly "
            "do the same (r of effects below 0.3). "
        )
    if missing:
        text += f"{plural(missing, 'pair')} without both numbers are left out."
    return Caption(text.strip(), f"Scatter plot of {plural(n, 'pair')}. Medians: {listed(medians) or 'none'}.")

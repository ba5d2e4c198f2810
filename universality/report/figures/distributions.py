"""Figure of best-match similarities: features, neurons, ceilings and chance together."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from universality.formatting import fixed, listed, of_all, percent
from universality.plot.style import PAGE, new_figure, styled
from universality.plot.survival import draw_survival
from universality.report.data import Caption, Sample


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
    draw_survival(axes, samples)
    return figure


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

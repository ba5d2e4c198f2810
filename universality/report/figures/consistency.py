"""Figure of similarity by frequency: do features that fire often match better than rare ones?"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from universality.formatting import count, fixed
from universality.plot.median_by_firings import FrequencySample, draw_consistency
from universality.plot.style import COLUMN, new_figure, styled
from universality.report.data import Caption


@styled
def consistency_by_frequency(samples: Sequence[FrequencySample]) -> Figure:
    """Draw one line of medians per comparison; see `universality.plot.consistency`."""
    figure = new_figure(COLUMN * 1.25, 2.9)
    if draw_consistency(figure.subplots(), samples):
        figure.legend(loc="outside upper left", ncols=1)
    return figure


def describe_consistency(samples: Sequence[FrequencySample]) -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    ends_of_lines = []
    for sample in samples:
        table = sample.quartiles()
        if len(table):
            ends = [f"{fixed(row[2])} at about {count(round(row[0]))} firings" for row in (table[0], table[-1])]
            ends_of_lines.append(f"{sample.label}: {', '.join(ends)}")
    text = (
        "Held-out r of scored pairs by how often their rarer feature fires: medians, with bands from the lower to the "
        "upper quartile. A rising line shows that rare features match less well. Either they differ between models, or "
        "there are too few tokens to measure their r; the ceiling distinguishes the two."
    )
    return Caption(text, f"Line plot of median r by firings. {'; '.join(ends_of_lines) or 'Too few pairs'}.")

"""Figure of training curves."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from universality.formatting import count, fixed, percent
from universality.plot.style import CYCLE, NAME, PAGE, in_legend, new_figure, say, styled
from universality.report.data import Caption

MEASURES = (
    ("loss", "loss"),
    ("explained_variance", "explained variance"),
    ("held_out_explained_variance", "explained variance, held out"),
    ("l0", "L0 (features a token)"),
    ("dead_share", "share of dead features"),
)
DASHES = (
    "-", (0, (5, 1.2)), (0, (1, 1)), (0, (4, 1.2, 1, 1.2)), (0, (4, 1.2, 1, 1.2, 1, 1.2)), (0, (9, 1.5)), (0, (1, 3)),
    (0, (9, 1.5, 1, 1.5)),
)  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """One measure of one run over training.

    Parameters
    ----------
    run, measure
        Name of the run, and one of the names in ``MEASURES``.
    x, y
        Tokens (or steps) and values, missing values left out.
    """

    run: str
    measure: str
    x: tuple[float, ...]
    y: tuple[float, ...]


def curves(rows: Iterable[Mapping[str, Any]], name: str = "") -> tuple[list[Curve], str]:
    """Read a training log as curves; return them and the unit of their horizontal axis.

    Parameters
    ----------
    rows
        One mapping a line of the log: ``tokens`` (or ``step``) and either numbers, or ``saes``, a mapping from run to
        numbers. Missing or null numbers are gaps.
    name
        Name of the run, where rows hold numbers directly.
    """
    points: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    unit = "tokens"
    for row in rows:
        unit = "tokens" if "tokens" in row else "step"
        at = row.get(unit)
        for run, numbers in row.get("saes", {name: row}).items():
            for measure, _ in MEASURES:
                value = numbers.get(measure)
                if at is not None and isinstance(value, (int, float)) and math.isfinite(value):
                    x, y = points.setdefault((run, measure), ([], []))
                    x.append(float(at))
                    y.append(float(value))
    return [Curve(run, measure, tuple(x), tuple(y)) for (run, measure), (x, y) in points.items()], unit


@styled
def training_curves(drawn: Sequence[Curve], unit: str = "tokens") -> Figure:
    """Draw one panel per measure and one line per run; measures that no run has are left out.

    Parameters
    ----------
    drawn, unit
        As returned by ``curves``.
    """
    measures = [(key, label) for key, label in MEASURES if any(c.measure == key for c in drawn)]
    looks = _looks(drawn)  # of all curves together, so that a run looks the same in every panel
    figure = new_figure(PAGE, 2.4)
    panels = figure.subplots(1, max(1, len(measures)), squeeze=False)[0]
    for axes, (key, label) in zip(panels, measures, strict=False):
        for curve in (c for c in drawn if c.measure == key):
            colour, dashes = looks[curve.run]
            lone = "o" if len(curve.x) == 1 else ""
            axes.plot(curve.x, curve.y, color=colour, linestyle=dashes, linewidth=1.1, marker=lone, markersize=3,
                      label=in_legend(curve.run, NAME))  # fmt: skip
        axes.set_title(label)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        if key in ("l0", "dead_share"):
            top = max((0.01, *(y for c in drawn if c.measure == key for y in c.y)))
            axes.set_ylim(-0.03 * top, 1.1 * top)
        if key == "dead_share":
            axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share, 1)))
    figure.supxlabel(f"training {unit}", fontsize=8)
    if not measures:
        say(panels[0], "nothing was logged")
    elif len(looks) > 1:
        lines, runs = panels[0].get_legend_handles_labels()
        beside = 4 if max(map(len, runs)) < NAME else 3
        figure.legend(lines, runs, loc="outside upper center", ncols=min(len(looks), beside))
    return figure


def _looks(drawn: Sequence[Curve]) -> dict[str, tuple[str, Any]]:
    """Assign a colour to each model (the part of a run's name before ``/``) and a dash to each of its runs.

    Where there are more models than colours, or more runs of a model than dashes, each run gets the next of the 48
    combinations instead.
    """
    runs = list(dict.fromkeys(curve.run for curve in drawn))
    of_models: dict[str, list[str]] = {}
    for run in runs:
        of_models.setdefault(run.partition("/")[0], []).append(run)
    places = {run: (m, p) for m, mine in enumerate(of_models.values()) for p, run in enumerate(mine)}
    if any(m >= len(CYCLE) or p >= len(DASHES) for m, p in places.values()):
        places = {run: (i % len(CYCLE), i // len(CYCLE) % len(DASHES)) for i, run in enumerate(runs)}
    return {run: (CYCLE[m], DASHES[p]) for run, (m, p) in places.items()}


def _short(value: float) -> str:
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"


def describe_training(drawn: Sequence[Curve], unit: str = "tokens") -> Caption:
    """Write the caption: what the figure shows, and what to look at."""
    text = (
        f"Training over {unit}, one line per run; every number is measured on one batch before its step. Curves that "
        "still fall at the end show that longer training would change the dictionary; dead features are wasted "
        "capacity."
    )
    last = [f"{c.run} {c.measure} {fixed(c.y[-1])} at {count(c.x[-1])}" for c in drawn]
    return Caption(text, f"Training curves; last values: {'; '.join(last) or 'none'}.")

"""How training went."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from universality.report.data import Caption
from universality.report.figures.style import CYCLE, NAME, PAGE, in_legend, new_figure, say, styled
from universality.report.formatting import count, fixed, percent

MEASURES = (
    ("loss", "loss"),
    ("explained_variance", "explained variance"),
    ("l0", "L0 (features a token)"),
    ("dead_share", "share of dead features"),
)
DASHES = (
    "-", (0, (5, 1.2)), (0, (1, 1)), (0, (4, 1.2, 1, 1.2)), (0, (4, 1.2, 1, 1.2, 1, 1.2)), (0, (9, 1.5)), (0, (1, 3)),
    (0, (9, 1.5, 1, 1.5)),
)  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """One measure of one run over training: ``x`` tokens (or steps), ``y`` values without gaps."""

    run: str
    measure: str
    x: tuple[float, ...]
    y: tuple[float, ...]


def curves(rows: Iterable[Mapping[str, Any]], name: str = "") -> tuple[list[Curve], str]:
    """What training wrote, as curves and the name of their horizontal axis.

    Parameters
    ----------
    rows
        One mapping a line of the log: ``tokens`` (or ``step``) and either numbers, or ``saes``, a mapping from run to
        numbers. Missing or null numbers are gaps.
    name
        Of the run where rows hold numbers themselves.
    """
    found: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    unit = "tokens"
    for row in rows:
        unit = "tokens" if "tokens" in row else "step"
        at = row.get(unit)
        for run, numbers in row.get("saes", {name: row}).items():
            for measure, _ in MEASURES:
                value = numbers.get(measure)
                if at is not None and isinstance(value, (int, float)) and math.isfinite(value):
                    x, y = found.setdefault((run, measure), ([], []))
                    x.append(float(at))
                    y.append(float(value))
    return [Curve(run, measure, tuple(x), tuple(y)) for (run, measure), (x, y) in found.items()], unit


@styled
def training_curves(drawn: Sequence[Curve], unit: str = "tokens") -> Figure:
    """One panel a measure, one line a run; measures that no run has are left out.

    Parameters
    ----------
    drawn, unit
        As ``curves`` gives them.
    """
    measures = [(key, label) for key, label in MEASURES if any(c.measure == key for c in drawn)]
    looks = _looks(drawn)
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
    """A colour for each model (what stands before ``/`` in a run's name) and a dash for each of its runs.

    Where there are more models than colours, or more runs of one than dashes, any look
    that no other run has; there are 48 of them.
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
    """What the picture shows and what to see in it."""
    text = (
        f"Training over {unit}, one line a run; every number is of one batch before its step. Curves that still "
        "fall at the end say that longer training would change the dictionary; dead features say that part of it is "
        "wasted."
    )
    last = [f"{c.run} {c.measure} {fixed(c.y[-1])} at {count(c.x[-1])}" for c in drawn]
    return Caption(text, f"Training curves; last values: {'; '.join(last) or 'none'}.")

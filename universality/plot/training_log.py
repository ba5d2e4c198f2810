"""Numbers of SAEs during training, from the log."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from universality.errors import FormatError, UniversalityError
from universality.files import as_path, read_json_lines
from universality.formatting import percent
from universality.plot.style import CYCLE, NAME, in_legend, legend_beside, new_axes, say, styled

MEASURES = {
    "loss": "loss",
    "explained_variance": "explained variance",
    "held_out_explained_variance": "explained variance, held out",
    "l0": "L0 (features a token)",
    "dead_share": "share of dead features",
}
_TIMES = ("step", "tokens")
DASHES = (
    "-", (0, (5, 1.2)), (0, (1, 1)), (0, (4, 1.2, 1, 1.2)), (0, (4, 1.2, 1, 1.2, 1, 1.2)), (0, (9, 1.5)), (0, (1, 3)),
    (0, (9, 1.5, 1, 1.5)),
)  # fmt: skip
Row: TypeAlias = Mapping[str, Any]
Looks: TypeAlias = Mapping[str, tuple[str, Any]]


@dataclass(frozen=True)
class TrainingCurve:
    """One measure of one run over training.

    Parameters
    ----------
    run, measure
        Name of the run, and the measure, such as a key of ``MEASURES``.
    x, y
        Tokens (or steps) and values, missing values left out.
    """

    run: str
    measure: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@styled
def training(log: str | Path | Iterable[Row], measure: str = "loss", *, ax: Axes | None = None) -> Axes:
    """Draw one measure of SAEs over their training, one line an SAE.

    Curves that still fall at the end show that longer training would change the dictionary.

    Parameters
    ----------
    log
        Path of a log, ``saes/train.jsonl`` of a run, or its rows: mappings with ``tokens`` (or ``step``) and either
        numbers, or ``saes``, a mapping from SAE to numbers.
    measure
        "loss", "explained_variance", "l0", "dead_share" or another number of the log, such as "learning_rate".
    ax
        Axes to draw into; new ones by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    UniversalityError
        If the log has no such number.
    FormatError
        If the log is truncated or corrupt, or its rows are not of training.

    Examples
    --------
    >>> log = [{"step": 0, "loss": 9.0, "l0": 64}, {"step": 50, "loss": 7.0, "l0": 32}]
    >>> axes = training(log, "l0")
    >>> axes.lines[0].get_xydata().tolist()
    [[0.0, 64.0], [50.0, 32.0]]
    """
    rows = read_json_lines(as_path(log)) if isinstance(log, str | Path) else list(log)
    curves, unit = curves_of(rows, measures=None)
    drawn = [curve for curve in curves if curve.measure == measure]
    if curves and not drawn:
        logged = ", ".join(dict.fromkeys(curve.measure for curve in curves))
        raise UniversalityError(f"training: the log has no number {measure!r}; it has {logged}")
    axes = new_axes(5.4, 2.8) if ax is None else ax
    draw_training(axes, drawn, curve_looks(drawn), measure)
    axes.set_xlabel(f"training {unit}")
    if not drawn:
        say(axes, "nothing was logged")
    elif len(drawn) > 1:
        legend_beside(axes)
    return axes


def curves_of(
    rows: Iterable[Row], name: str = "", measures: Iterable[str] | None = tuple(MEASURES)
) -> tuple[list[TrainingCurve], str]:
    """Read a training log as curves; return them and the unit of their horizontal axis.

    Parameters
    ----------
    rows
        One mapping a line of the log: ``tokens`` (or ``step``) and either numbers, or ``saes``, a mapping from run to
        numbers. Missing or null numbers are gaps.
    name
        Name of the run, where rows hold numbers directly.
    measures
        Numbers to read; None for all.

    Raises
    ------
    FormatError
        If a row is not a mapping, or its ``saes`` do not hold mappings.
    """
    points: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    unit = "tokens"
    for number, row in enumerate(rows, 1):
        saes = row.get("saes", {name: row}) if isinstance(row, Mapping) else None
        if not isinstance(saes, Mapping) or not all(isinstance(numbers, Mapping) for numbers in saes.values()):
            raise FormatError(f"training: row {number} of the log is not one of training: expected tokens and numbers")
        unit = "tokens" if "tokens" in row else "step"
        at = row.get(unit)
        for run, numbers in saes.items():
            for measure in (key for key in numbers if key not in _TIMES) if measures is None else measures:
                value = numbers.get(measure)
                if at is not None and isinstance(value, (int, float)) and math.isfinite(value):
                    x, y = points.setdefault((run, measure), ([], []))
                    x.append(float(at))
                    y.append(float(value))
    return [TrainingCurve(run, measure, tuple(x), tuple(y)) for (run, measure), (x, y) in points.items()], unit


def draw_training(axes: Axes, curves: Sequence[TrainingCurve], looks: Looks, measure: str) -> None:
    """Draw the curves of one measure, each in the look of its run."""
    for curve in curves:
        colour, dashes = looks[curve.run]
        lone = "o" if len(curve.x) == 1 else ""
        axes.plot(curve.x, curve.y, color=colour, linestyle=dashes, linewidth=1.1, marker=lone, markersize=3,
                  label=in_legend(curve.run, NAME))  # fmt: skip
    axes.set_title(MEASURES.get(measure, measure.replace("_", " ")))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    if measure in ("l0", "dead_share"):
        top = max((0.01, *(y for curve in curves for y in curve.y)))
        axes.set_ylim(-0.03 * top, 1.1 * top)
    if measure == "dead_share":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share, 1)))


def curve_looks(curves: Sequence[TrainingCurve]) -> dict[str, tuple[str, Any]]:
    """Assign a colour to each model (the part of a run's name before ``/``) and a dash to each of its runs.

    Where there are more models than colours, or more runs of a model than dashes, each run gets the next of the 48
    combinations instead.
    """
    runs = list(dict.fromkeys(curve.run for curve in curves))
    of_models: dict[str, list[str]] = {}
    for run in runs:
        of_models.setdefault(run.partition("/")[0], []).append(run)
    places = {run: (m, p) for m, mine in enumerate(of_models.values()) for p, run in enumerate(mine)}
    if any(m >= len(CYCLE) or p >= len(DASHES) for m, p in places.values()):
        places = {run: (i % len(CYCLE), i // len(CYCLE) % len(DASHES)) for i, run in enumerate(runs)}
    return {run: (CYCLE[m], DASHES[p]) for run, (m, p) in places.items()}


def _short(value: float) -> str:
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"

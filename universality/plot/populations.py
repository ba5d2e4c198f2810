"""Populations of best-match correlations, such as features, ceilings and chance, and the look of their curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from universality.errors import UniversalityError
from universality.plot.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from universality.statistics.calibration import Calibration

if TYPE_CHECKING:
    from universality.arrays import FloatArray

LOOK: dict[str, tuple[str, Any]] = {
    "features": (BLUE, "-"),
    "ceiling": (GREEN, (0, (6, 1.5))),
    "neurons": (ORANGE, (0, (4, 1.2, 1, 1.2))),
    "null": (GREY, (0, (1, 1))),
    "control": (PURPLE, (0, (2.5, 1))),
}
"""Role of a population → colour and dashes of its curve."""
_MORE = ((BLUE, "-"), (VERMILION, "-"), (GREEN, "-"), (ORANGE, "-"), (PURPLE, "-"), (SKY, "-"))


class Population(Protocol):
    """Best-match correlations of one population."""

    @property
    def role(self) -> str:
        """Key of ``LOOK``, or any other text."""

    @property
    def label(self) -> str:
        """Name in the legend."""

    @property
    def values(self) -> FloatArray:
        """[n] r of each; NaN for those without a score."""

    @property
    def without(self) -> int:
        """Number of living features without a partner, which ``values`` leaves out."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A `Population` of plain values."""

    role: str
    label: str
    values: FloatArray
    without: int = 0


Scores: TypeAlias = Calibration | npt.ArrayLike
Populations: TypeAlias = Scores | Mapping[str, Scores] | Sequence[Population]


def populations_of(
    scores: Populations, ceilings: Mapping[str, Calibration] | None, label: str, caller: str
) -> list[Population]:
    """Return the populations to draw.

    Parameters
    ----------
    scores
        A calibration; scores [n], with NaN for features without one; name → calibration or scores; or populations.
    ceilings
        Name → calibration of two SAE seeds of one model; by default the ceilings that the calibration holds.
    label
        Name of the features of a calibration, or of the scores.
    caller
        Name of the figure, for errors.

    Raises
    ------
    UniversalityError
        If ceilings are given without a calibration, or something else than scores.
    """
    if isinstance(scores, Calibration):
        return list(_of_calibration(scores, ceilings, label))
    if ceilings:
        raise UniversalityError(f"{caller}: ceilings belong to a calibration; give other scores as name → scores")
    if isinstance(scores, Sequence) and scores and all(hasattr(part, "role") for part in scores):
        return list(scores)  # type: ignore[arg-type]
    named = scores if isinstance(scores, Mapping) else {label: scores}
    return [_named(str(name), values, caller) for name, values in named.items()]


def looks(roles: Sequence[str]) -> list[tuple[str, Any]]:
    """Return colour and dashes for each role; the unknown ones get those of further colours in turn."""
    more = iter(_MORE * (1 + len(roles) // len(_MORE)))
    return [LOOK.get(role) or next(more) for role in roles]


def _of_calibration(
    calibration: Calibration, ceilings: Mapping[str, Calibration] | None, label: str
) -> Iterator[Population]:
    """Yield the populations of a calibration, as a report draws them."""
    yield Scored("features", label, calibration.held_out, calibration.match.n_without_partner)
    if ceilings is None:
        for name, of_pairs in ceilings_of_pairs(calibration):
            yield Scored("ceiling", name, of_pairs)
    for name, of_seeds in (ceilings or {}).items():
        yield Scored("ceiling", name, of_seeds.held_out, of_seeds.match.n_without_partner)
    scores = calibration.null_scores if calibration.chances else np.zeros(0)
    living = scores[~np.isnan(scores)]  # NaN: dead features, which no population counts
    if living.size:
        yield Scored("null", "null: re-paired text", np.where(np.isfinite(living), living, np.nan))


def ceilings_of_pairs(calibration: Calibration) -> Iterator[tuple[str, FloatArray]]:
    """Yield name and ceilings [n_pairs] of each side of a calibration that has any."""
    for side, of_pairs in (("rows", calibration.ceiling_a), ("columns", calibration.ceiling_b)):
        if of_pairs is not None and np.isfinite(of_pairs).any():
            yield f"ceilings of the matched {side}", of_pairs


def _named(name: str, values: Any, caller: str) -> Scored:
    if isinstance(values, Calibration):
        return Scored(name, name, values.held_out, values.match.n_without_partner)
    try:
        return Scored(name, name, np.asarray(values, dtype=np.float64).ravel())
    except (TypeError, ValueError):
        raise UniversalityError(
            f"{caller}: expected a calibration, scores [n], or name → scores; found {type(values).__name__} for "
            f"{name!r}"
        ) from None

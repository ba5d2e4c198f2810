"""Loss of score of explanations on partners in another model, against the similarity of the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from universality.arrays import BoolArray, FloatArray
from universality.plot.style import BLUE, GREEN, INK, PALE, PURPLE, legend_beside, new_axes, say, styled

if TYPE_CHECKING:
    from universality.labels import LabelTransfer

Against: TypeAlias = Literal["r", "effects"]

_GROUPS: dict[str, tuple[tuple[str, ...], str, str, str]] = {
    "partners": (("partner",), BLUE, "o", "-"),
    "second SAE seeds": (("second seed of A", "second seed of B"), GREEN, "D", "--"),
    "other features of B": (("non-partner", "equal density"), PURPLE, "v", ":"),
}
"""Group → pairings, colour, marker and dashes."""
_BINS, _LEAST = 8, 5
"""Most classes of equal number of which means are drawn, and the fewest pairs of one."""


@dataclass(frozen=True, eq=False)
class TransferPoints:
    """Numbers of pairs of features on which explanations were tried; arrays [n_pairs], NaN where one is not known.

    Parameters
    ----------
    pairing
        Kind of each pair, as `universality.labels.LabelTransfer` names it.
    r, effect_r
        Held-out r of the activations, and agreement of the effects of partners.
    loss
        Score of the explanation on its own feature minus that on the other one.
    """

    pairing: npt.NDArray[np.str_]
    r: FloatArray
    effect_r: FloatArray
    loss: FloatArray

    @classmethod
    def of(cls, transfer: LabelTransfer, name: str) -> TransferPoints:
        """Take the pairs that one score was measured on."""
        pairs = transfer.to_frame()
        pairs = pairs[pairs["name"] == name]
        numbers = (pairs[column].to_numpy(np.float64) for column in ("r", "effect_r", "loss"))
        return cls(np.asarray(pairs["pairing"].tolist(), np.str_), *numbers)


@styled
def label_transfer(
    transfer: LabelTransfer, *, name: str | None = None, against: Against = "r", ax: Axes | None = None
) -> Axes:
    """Plot how much worse an explanation predicts another feature than its own.

    Points are pairs of features: A's feature and its partner in B, and (against r) what partners are compared with.
    Lines are means over pairs of similar r. Where the line of the partners lies above that of second SAE seeds, the
    explanation loses more across models than r accounts for; `LabelTransfer.given_r` has that difference.

    Parameters
    ----------
    transfer
        Result of `universality.labels.measure_transfer`.
    name
        A score; the first one by default.
    against
        ``"r"``: held-out r of the activations. ``"effects"``: agreement of the effects of partners.
    ax
        Axes to draw into; new ones by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    UniversalityError
        If there is no such score.
    """
    axes = new_axes(5.4, 3.3) if ax is None else ax
    name = transfer.checked_name(name)
    if draw_transfer(axes, TransferPoints.of(transfer, name), name, against):
        legend_beside(axes)
    return axes


def draw_transfer(axes: Axes, pairs: TransferPoints, name: str, against: Against) -> bool:
    """Draw the pairs that have both numbers and the means of each group; return whether there are any."""
    axes.set(ylabel=f"{name} lost on the other feature")
    axes.set(xlabel="activation r (held-out tokens)" if against == "r" else "r of effects per norm, where both fire")
    axes.axhline(0, color=PALE, linewidth=0.7, zorder=0)
    drawn = [
        _draw(axes, pairs, np.isin(pairs.pairing, pairings), against, label, (colour, marker, dashes))
        for label, (pairings, colour, marker, dashes) in _GROUPS.items()
        if against == "r" or label == "partners"
    ]
    if not any(drawn):
        say(axes, "no pair has both numbers")
    return any(drawn)


def _draw(
    axes: Axes, pairs: TransferPoints, group: BoolArray, against: Against, label: str, style: tuple[str, str, str]
) -> bool:
    """Draw a group's pairs that have both numbers, and their means; return whether there are any."""
    x, y = (pairs.r if against == "r" else pairs.effect_r), pairs.loss
    both = group & np.isfinite(x) & np.isfinite(y)
    if not both.any():
        return False
    colour, marker, dashes = style
    axes.scatter(
        x[both], y[both], color=colour, alpha=0.35, s=7, marker=marker, linewidths=0, zorder=2,
        rasterized=int(both.sum()) > 3000, label=f"{label} ({int(both.sum()):,})",
    )  # fmt: skip
    at, means = _means(x[both], y[both])
    if at.size:
        axes.plot(
            at, means, color=colour if label != "partners" else INK, linestyle=dashes, marker=marker, markersize=4.5,
            markeredgecolor="white", label=f"mean of {label}", zorder=4,
        )  # fmt: skip
    return True


def _means(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean x and y of classes of equal number; none for too few pairs."""
    if x.size < _LEAST:
        return np.zeros(0), np.zeros(0)
    classes = np.array_split(np.argsort(x, kind="stable"), max(1, min(_BINS, x.size // _LEAST)))
    return np.array([x[part].mean() for part in classes]), np.array([y[part].mean() for part in classes])

"""Relative decoder norms of a crosscoder, which show the features that two models share."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator
from numpy.typing import ArrayLike

from universality.arrays import BoolArray, FloatArray
from universality.errors import UniversalityError
from universality.plot.pair_table import frame_columns
from universality.plot.style import BLUE, COLUMN, GREY, IN_PANEL, INK, PALE, drawable_names, new_axes, say, styled
from universality.statistics.crosscoder_classes import EXCLUSIVE, SHARED, CrosscoderAgreement

BINS = 40
Norms: TypeAlias = CrosscoderAgreement | pd.DataFrame | ArrayLike


@styled
def crosscoder(
    norms: Norms,
    *,
    partners: ArrayLike | None = None,
    unpaired: ArrayLike | None = None,
    names: tuple[str, str] = ("A", "B"),
    ax: Axes | None = None,
) -> Axes:
    """Draw a histogram of a crosscoder's relative decoder norms, which tell shared features from exclusive ones.

    Grey lines bound the classes: a feature is exclusive up to 0.1 and from 0.9 on, and shared from 0.3 to 0.7.

    Parameters
    ----------
    norms
        Relative norm [n_features] in the second model: 0 for a feature of the first alone, 1 for one of the second
        alone, as ``Crosscoder.relative_norms[1]``. Or the result of `universality.statistics.crosscoder_agreement`, or
        its table ``features.csv`` with the columns ``relative_norm`` and ``partners``.
    partners
        Bool [n_features], features on which the matching of separate SAEs agrees: those SAE features that fire most
        like them, one in each model, are partners. Known from an agreement.
    unpaired
        Relative norms [n_control] of a crosscoder trained on the two models' tokens in different orders, which shares
        features by chance only; drawn as an outline.
    names
        Names of the first and the second model.
    ax
        Axes to draw into; new ones by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    UniversalityError
        If relative norms are not from 0 to 1, or ``partners`` do not fit them.

    Examples
    --------
    >>> axes = crosscoder([0.0, 0.5, 0.5, 0.97], names=("base", "tuned"))
    >>> axes.patches[0].get_data().values.sum()
    np.int64(4)
    """
    relative, agreed = _numbers(norms, partners)
    control = _checked(unpaired, "unpaired") if unpaired is not None else np.zeros(0)
    axes = new_axes(1.3 * COLUMN, 2.3) if ax is None else ax
    draw_crosscoder(axes, relative, agreed, control, names)
    return axes


def _numbers(norms: Norms, partners: ArrayLike | None) -> tuple[FloatArray, BoolArray | None]:
    """Return relative norms [n_features], and the features whose SAE features are partners if they are known."""
    frame = norms.features if isinstance(norms, CrosscoderAgreement) else norms
    if not isinstance(frame, pd.DataFrame):
        checked = _checked(frame, "norms")
    else:
        checked = _checked(frame_columns(frame, ("relative_norm",), "crosscoder")[0], "norms")
        if partners is None and "partners" in frame:
            partners = frame["partners"].to_numpy(bool)
    agreed = None if partners is None else np.asarray(partners, bool)
    if agreed is not None and agreed.shape != checked.shape:
        raise UniversalityError(
            f"crosscoder: expected partners for each of {checked.size} features, found shape {agreed.shape}"
        )
    return checked, agreed


def _checked(norms: ArrayLike, name: str) -> FloatArray:
    try:
        values = np.asarray(norms, np.float64)
    except (TypeError, ValueError):
        values = np.full((0, 0), np.nan)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise UniversalityError(
            f"crosscoder: expected {name} as relative norms [n_features] from 0 to 1, such as "
            f"crosscoder.relative_norms[1]; found {type(norms).__name__} of shape {values.shape}"
        )
    return values


def draw_crosscoder(
    axes: Axes, norm: FloatArray, partners: BoolArray | None, unpaired: FloatArray, names: tuple[str, str]
) -> None:
    """Draw the histogram, with the features marked on which the matching agrees, and the control's outline."""
    edges = np.linspace(0, 1, BINS + 1)
    for bound in (EXCLUSIVE, SHARED, 1 - SHARED, 1 - EXCLUSIVE):
        axes.axvline(bound, color=PALE, linewidth=0.7, zorder=0)
    axes.stairs(np.histogram(norm, edges)[0], edges, fill=True, color=PALE, label="all features")
    if partners is not None:
        axes.stairs(
            np.histogram(norm[partners], edges)[0], edges, fill=True, color=BLUE,
            label="closest SAE features are partners",
        )  # fmt: skip
    axes.stairs(np.histogram(norm, edges)[0], edges, color=GREY, linewidth=0.6)
    if unpaired.size:
        axes.stairs(
            np.histogram(unpaired, edges)[0], edges, color=INK, linestyle=(0, (1, 1)), label="trained on unpaired text"
        )
    axes.set(xlim=(0, 1), ylabel="features", xlabel="relative norm of the decoder row")
    axes.xaxis.set_major_locator(FixedLocator([0, EXCLUSIVE, SHARED, 0.5, 1 - SHARED, 1 - EXCLUSIVE, 1]))
    first, second = drawable_names(names, IN_PANEL)
    ends = [f"0\n{first} alone", "0.1", "0.3", "0.5\nboth equally", "0.7", "0.9", f"1\n{second} alone"]
    axes.xaxis.set_major_formatter(FixedFormatter(ends))
    if norm.size:
        axes.legend(loc="upper left")
        axes.set_ylim(top=axes.get_ylim()[1] * 1.2)  # room for the legend
    else:
        say(axes, "no living features")

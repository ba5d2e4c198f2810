"""Features as points of a map, of one model or of two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.errors import UniversalityError
from universality.formatting import count
from universality.plot.style import (
    CYCLE,
    INK,
    MODEL_COLOURS,
    NAME,
    PALE,
    drawable,
    drawable_names,
    in_legend,
    new_axes,
    say,
    styled,
)

if TYPE_CHECKING:
    import pandas as pd

    from universality.maps import FeatureMap, JointMap


@runtime_checkable
class _TwoModels(Protocol):
    """A joint map, told from one of a single model without the import of `universality.maps`."""

    @property
    def xy_a(self) -> FloatArray: ...
    @property
    def xy_b(self) -> FloatArray: ...


Colours: TypeAlias = Literal["model", "r", "cluster"] | npt.ArrayLike
_SEQUENTIAL = "viridis"
_CATEGORIES = len(CYCLE)
"""Largest number of categories with colours of their own."""


@styled
def map(
    points: JointMap | FeatureMap,
    *,
    colour: Colours | None = None,
    pairs: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    labels: Sequence[str] | None = None,
    names: tuple[str, str] = ("A", "B"),
    ax: Axes | None = None,
) -> Axes:
    """Draw a map of features: one point a feature, near those that resemble it.

    On a map of two models, A's features are discs and B's are triangles. Black rings are features that are alone: they
    resemble no feature of the other model above chance. Axes have no ticks, since only nearness has a meaning.

    Parameters
    ----------
    points
        Result of `universality.maps.joint_map` or `universality.maps.feature_map`.
    colour
        "model" (the default of a joint map), "r" for the r of each feature's strongest edge to the other model, or
        "cluster" (the default of a single one), where clusters whose numbers follow each other differ in colour and six
        colours repeat. Or one value a row of ``points.to_frame()``: numbers get a scale, up to six texts a legend.
    pairs
        Features (of A, of B) [n_pairs] of a joint map to mark, each pair with a line between its two points.
    labels
        [n_pairs] texts beside the marked pairs.
    names
        Names of the two models.
    ax
        Axes to draw into; new ones by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    UniversalityError
        If the colours do not fit the points, or a marked feature is not on the map.

    Examples
    --------
    >>> from universality.maps import feature_map
    >>> bundles = np.repeat(np.eye(3), 10, axis=0) + 0.1 * np.random.default_rng(0).normal(size=(30, 3))
    >>> axes = map(feature_map(bundles, n_neighbours=5), colour=np.repeat(["dogs", "cats", "birds"], 10))
    >>> [text.get_text() for text in axes.get_legend().get_texts()]
    ['birds (10)', 'cats (10)', 'dogs (10)']
    """
    axes = new_axes(5.6, 4.6) if ax is None else ax
    frame, joint = points.to_frame(), isinstance(points, _TwoModels)
    axes.set(xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set_visible(False)
    if frame.empty:
        say(axes, "no feature is placed")
        return axes
    if not joint and (pairs is not None or (isinstance(colour, str) and colour in ("model", "r"))):
        raise UniversalityError("map: pairs and the colours 'model' and 'r' need a map of two models (joint_map)")
    colour = ("model" if joint else "cluster") if colour is None else colour
    named = colour if isinstance(colour, str) else ""
    _scatter(axes, frame, _values(frame, colour, names), joint, named)
    if joint and frame["alone"].any():
        ring = frame[frame["alone"]]
        axes.scatter(
            ring["x"], ring["y"], s=22, facecolors="none", edgecolors=INK, linewidths=0.7, zorder=4,
            label=f"alone ({count(len(ring))})",
        )  # fmt: skip
    if axes.get_legend_handles_labels()[1]:
        legend = axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        for handle in legend.legend_handles:
            handle.set_sizes([24])  # type: ignore[union-attr]
    if joint and pairs is not None:
        _mark(axes, points, pairs, labels)  # type: ignore[arg-type]
    return axes


def _values(frame: pd.DataFrame, colour: Colours, names: tuple[str, str]) -> npt.NDArray[np.generic]:
    """Return one value a point: numbers for a scale, or texts for a legend."""
    if isinstance(colour, str):
        if colour == "model":
            a, b = drawable_names(names, NAME)
            return np.where(frame["side"] == "a", a, b)
        if colour == "r":
            return frame["best_r"].to_numpy(np.float64)
        if colour == "cluster":
            return frame["cluster"].to_numpy()
        raise UniversalityError(f"map: expected colour 'model', 'r', 'cluster' or an array, found {colour!r}")
    values = np.asarray(colour)
    if values.shape != (len(frame),):
        raise UniversalityError(
            f"map: expected one colour for each of the {len(frame)} rows of to_frame(), found shape {values.shape}"
        )
    return values


def _scatter(axes: Axes, frame: pd.DataFrame, values: npt.NDArray[np.generic], joint: bool, named: str) -> None:
    numeric = values.dtype.kind in "fiub"
    coloured = _clusters if named == "cluster" else _numbers if numeric else _categories
    side = frame["side"].to_numpy() if joint else np.full(len(frame), "a")
    xy = frame[["x", "y"]].to_numpy(np.float64)
    for letter, marker in (("a", "o"), ("b", "^")):
        draw = partial(
            axes.scatter, s=float(np.clip(12_000 / len(frame), 0.5, 14)), marker=marker, linewidths=0,
            rasterized=len(frame) > 3000,  # so many shapes within SVG or PDF would take seconds to open
        )  # fmt: skip
        if (side == letter).any():
            coloured(draw, axes, xy, values, side == letter)
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if coloured is _numbers and known.size:
        scale = ScalarMappable(Normalize(float(known.min()), float(known.max())), _SEQUENTIAL)
        label = "r of the strongest edge to the other model" if named == "r" else ""
        axes.figure.colorbar(scale, ax=axes, shrink=0.6, aspect=26, pad=0.02, label=label)


def _categories(
    draw: Callable[..., object], axes: Axes, xy: FloatArray, values: npt.NDArray[np.generic], here: BoolArray
) -> None:
    """Draw the points of one marker, the largest categories in colours of their own and the others pale."""
    texts = values.astype(str)
    kinds, sizes = np.unique(texts, return_counts=True)
    shown = np.sort(kinds[np.argsort(-sizes, kind="stable")][:_CATEGORIES]).tolist()
    draw(xy[here & ~np.isin(texts, shown), 0], xy[here & ~np.isin(texts, shown), 1], color=PALE)
    for text, shade in zip(shown, MODEL_COLOURS if len(kinds) == 2 else CYCLE, strict=False):
        chosen = here & (texts == text)
        if chosen.any():
            label = _once(axes, f"{text} ({count(int((texts == text).sum()))})")
            draw(xy[chosen, 0], xy[chosen, 1], color=shade, zorder=3, label=label)


def _clusters(
    draw: Callable[..., object], axes: Axes, xy: FloatArray, values: npt.NDArray[np.generic], here: BoolArray
) -> None:
    """Draw the points of one marker, those in no cluster (-1) pale; numbers of clusters have no order to show."""
    cluster = values.astype(np.int64)
    outside, inside = here & (cluster < 0), here & (cluster >= 0)
    draw(xy[outside, 0], xy[outside, 1], color=PALE)
    draw(xy[inside, 0], xy[inside, 1], color=[CYCLE[k % len(CYCLE)] for k in cluster[inside]], zorder=3)


def _once(axes: Axes, text: str) -> str:
    """Return a name for the legend; a name that is hidden if the legend has it already, for another marker."""
    name = in_legend(text, 2 * NAME)
    return f"_{name}" if name in axes.get_legend_handles_labels()[1] else name


def _numbers(
    draw: Callable[..., object], axes: Axes, xy: FloatArray, values: npt.NDArray[np.generic], here: BoolArray
) -> None:
    """Draw the points of one marker, those without a number pale."""
    numbers = values.astype(np.float64)
    known = np.isfinite(numbers)
    draw(xy[here & ~known, 0], xy[here & ~known, 1], color=PALE)
    if (chosen := here & known).any():
        limits = {"vmin": float(numbers[known].min()), "vmax": float(numbers[known].max())}
        draw(xy[chosen, 0], xy[chosen, 1], c=numbers[chosen], cmap=_SEQUENTIAL, zorder=3, **limits)


def _mark(
    axes: Axes, points: JointMap, pairs: tuple[npt.ArrayLike, npt.ArrayLike], labels: Sequence[str] | None
) -> None:
    rows, cols = (np.asarray(side, np.int64) for side in pairs)
    if rows.shape != cols.shape or rows.ndim != 1 or (labels is not None and len(labels) != rows.size):
        raise UniversalityError(
            f"map: expected as many features of A as of B, and one label a pair or none; found {rows.size} and "
            f"{cols.size}, and {'no' if labels is None else len(labels)} labels"
        )
    here, there = _places(points.xy_a, rows, "A"), _places(points.xy_b, cols, "B")
    right = np.mean(axes.get_xlim())
    for k, (start, end) in enumerate(zip(here, there, strict=True)):
        axes.plot(*np.stack([start, end]).T, color=INK, linewidth=0.9, marker="o", markersize=4,
                  markerfacecolor="none", markeredgewidth=0.9, zorder=5)  # fmt: skip
        if labels is not None:
            left = end[0] > right  # labels point inwards, so that none leaves the axes
            axes.annotate(drawable(labels[k], most=NAME), end, xytext=(-5 if left else 5, 3), fontsize=7, zorder=6,
                          textcoords="offset points", ha="right" if left else "left")  # fmt: skip


def _places(xy: FloatArray, features: IntArray, model: str) -> FloatArray:
    """Return the points [n, 2] of features."""
    outside = features[(features < 0) | (features >= len(xy))]
    missing = outside if outside.size else features[np.isnan(xy[features, 0])]
    if missing.size:
        raise UniversalityError(
            f"map: feature {missing[0]} of {model} is not on the map, which has {len(xy)} features, "
            f"{int((~np.isnan(xy[:, 0])).sum())} of them placed"
        )
    return xy[features]

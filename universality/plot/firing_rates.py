"""Firing rates of the features of dictionaries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MultipleLocator, PercentFormatter

from universality.errors import UniversalityError
from universality.features import FeatureStore
from universality.formatting import count, power_of_ten
from universality.plot.style import CYCLE, LINE, in_legend, legend_beside, new_axes, say, styled

BINS_A_DECADE = 5
DASHES = ("-", (0, (4, 1.2)), (0, (1, 1)))
Densities: TypeAlias = FeatureStore | npt.ArrayLike


@dataclass(frozen=True, eq=False)
class DensitySample:
    """Firing rates of one dictionary.

    Parameters
    ----------
    model, width
        Model and width of the dictionary.
    density
        [n_features] share of tokens on which each feature fires; 0 for dead features.
    """

    model: str
    width: int
    density: np.ndarray[Any, np.dtype[np.float64]]


@styled
def densities(
    dictionaries: FeatureStore | Sequence[FeatureStore] | Mapping[str, Densities],
    *,
    decades: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how often features fire: histograms of the logarithm of their densities, one outline a dictionary.

    Dictionaries whose features fire at different rates cannot match well. Dead features count in the shares and are
    stated in the legend. Only the firing counts of a store are read.

    Parameters
    ----------
    dictionaries
        One store or several; or name → store, or densities [n_features] of some features, such as those with a partner.
    decades
        Decades below 1 that the axis spans; by default down to the decade of the rarest feature. Axes that are to be
        compared need the same.
    ax
        Axes to draw into; new ones by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    UniversalityError
        If densities are not shares of tokens, or some lie below the axis.

    Examples
    --------
    >>> axes = densities({"A": [0.5, 0.05, 0.02, 0.0]})
    >>> [text.get_text() for text in axes.get_legend().get_texts()], axes.patches[0].get_data().values.sum()
    (['A: 1 of 4 dead'], np.float64(0.75))
    """
    samples = _samples(dictionaries)
    edges = density_edges(samples) if decades is None else _edges(decades)
    for sample in samples:
        if (sample.density[sample.density > 0] < 10.0 ** edges[0]).any():
            raise UniversalityError(
                f"densities: {sample.model} has densities below 10^{edges[0]:.0f}; raise decades, or leave it out"
            )
    axes = new_axes(5.4, 2.8) if ax is None else ax
    for place, sample in enumerate(samples):
        dead = int((sample.density <= 0).sum())
        label = f"{in_legend(sample.model, LINE)}: {count(dead)} of {count(sample.density.size)} dead"
        draw_densities(axes, sample, edges, place, label)
    label_densities(axes, edges)
    axes.set_ylabel("share of features")
    if samples:
        legend_beside(axes)
    else:
        say(axes, "no dictionaries")
    return axes


def _samples(dictionaries: FeatureStore | Sequence[FeatureStore] | Mapping[str, Densities]) -> list[DensitySample]:
    if isinstance(dictionaries, FeatureStore):
        dictionaries = [dictionaries]
    if not isinstance(dictionaries, Mapping):
        given = dictionaries if isinstance(dictionaries, Iterable) else [dictionaries]
        unknown = [store for store in given if not isinstance(store, FeatureStore)]
        if unknown:
            raise UniversalityError(
                f"densities: expected stores, or name → store or densities; found {type(unknown[0]).__name__}"
            )
        stems = [store.path.stem for store in dictionaries]
        # two folders may hold files of one name
        names = stems if len(set(stems)) == len(stems) else [str(store.path) for store in dictionaries]
        dictionaries = dict(zip(names, dictionaries, strict=True))
    return [_sample(str(name), given) for name, given in dictionaries.items()]


def _sample(name: str, given: Densities) -> DensitySample:
    try:
        values = given.moments().density if isinstance(given, FeatureStore) else given
        density = np.asarray(values, np.float64).ravel()
    except (TypeError, ValueError):
        raise UniversalityError(
            f"densities: expected a store or densities [n_features] for {name!r}, found {type(given).__name__}"
        ) from None
    if not ((density >= 0) & (density <= 1)).all():
        raise UniversalityError(
            f"densities: expected shares of tokens from 0 to 1 for {name!r}, found {density.min():g} to "
            f"{density.max():g}; firing counts are to be divided by the number of tokens"
        )
    return DensitySample(name, density.size, density)


def density_edges(samples: Sequence[DensitySample]) -> np.ndarray:
    """Make bin edges from the decade below the rarest feature up to 1."""
    living = [sample.density[sample.density > 0] for sample in samples]
    rarest = min((float(d.min()) for d in living if d.size), default=0.1)
    return _edges(max(1, int(-np.floor(np.log10(rarest)))))


def _edges(decades: int) -> np.ndarray:
    if decades < 1:
        raise UniversalityError(f"densities: expected decades >= 1, found {decades}")
    return np.linspace(-decades, 0, decades * BINS_A_DECADE + 1)


def draw_densities(axes: Axes, sample: DensitySample, edges: np.ndarray, place: int, label: str) -> None:
    """Draw the outline of one dictionary's histogram, in the look of its place among others."""
    fires = sample.density > 0
    heights = np.histogram(np.log10(sample.density[fires]), edges)[0] / max(1, sample.density.size)
    look = {"color": CYCLE[place % len(CYCLE)], "linestyle": DASHES[place % len(DASHES)]}
    axes.stairs(heights, edges, linewidth=1.2, label=label, **look)  # type: ignore[arg-type]


def label_densities(axes: Axes, edges: np.ndarray) -> None:
    """Write powers of ten beneath the axes."""
    axes.set_xlabel("share of tokens on which it fires")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MultipleLocator(1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda exponent, _: power_of_ten(round(exponent))))
    axes.yaxis.set_major_formatter(PercentFormatter(1))

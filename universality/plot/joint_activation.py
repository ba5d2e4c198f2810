"""Activations of two features on the same tokens: do they fire together, and equally strongly?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from universality.features import FeatureStore, select_features
from universality.features.examples import Decode
from universality.formatting import count, fixed
from universality.plot.labels import feature_labels
from universality.plot.reporting_half import reporting_half
from universality.plot.style import DENSITY_MAP, LINE, NAME, TICKS, drawable, new_axes, say, styled
from universality.similarity import Similarity

if TYPE_CHECKING:
    from universality.statistics import Calibration

Values = NDArray[np.floating[Any]]
BINS = 40


@dataclass(frozen=True, eq=False)
class JointHistogram:
    """Tokens by the activations of two features; row and column 0 hold the tokens on which one of them is silent.

    Parameters
    ----------
    tokens
        [n_bins + 1, n_bins + 1] tokens by the activation of B (rows) and of A (columns). Row 0: only A fires.
        Column 0: only B fires. Cell (0, 0), where neither fires, is 0.
    edges_a, edges_b
        [n_bins + 1] edges of the bins of activations that are not 0.
    """

    tokens: NDArray[np.int64]
    edges_a: Values
    edges_b: Values

    @property
    def both(self) -> int:
        """Tokens on which both fire."""
        return int(self.tokens[1:, 1:].sum())

    @property
    def only_a(self) -> int:
        """Tokens on which only the feature of A fires."""
        return int(self.tokens[0].sum())

    @property
    def only_b(self) -> int:
        """Tokens on which only the feature of B fires."""
        return int(self.tokens[:, 0].sum())


@styled
def pair(
    a: FeatureStore,
    b: FeatureStore,
    i: int,
    j: int,
    *,
    calibration: Calibration | None = None,
    names: tuple[str, str] | None = None,
    decode: Decode | None = None,
    colorbar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a histogram of the activations of feature ``i`` of A and feature ``j`` of B on the same tokens.

    Tokens on which only one of the two fires are counted in the strips at the edges, which are labelled "silent". The
    title states r and how many tokens both or one of them fires on. Only these two features are read.

    Parameters
    ----------
    a, b
        Stores of the same tokens.
    i, j
        Feature of A and feature of B.
    calibration
        A calibration of the two stores. Only tokens of the half of the documents are then drawn on which partners were
        not chosen, and r is called held-out if it paired these two features.
    names
        Names of the two sides; by default those of the files.
    decode
        Takes token ids and gives their strings.
    colorbar
        Whether to draw the scale beside the axes.
    ax
        Axes to draw into; new ones by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes that were given, or new ones.

    Raises
    ------
    MismatchError
        If the stores saw different tokens.
    UniversalityError
        If a feature does not exist.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from universality.statistics.synthetic import World, plant
    >>> with TemporaryDirectory() as folder:
    ...     planted = plant(World(n_documents=20, n_shared=3, n_alone=2), Path(folder))
    ...     axes = pair(planted.a, planted.b, 0, 1)
    >>> axes.get_title(loc="left").splitlines()[1].split()[:3]
    ['both', 'fire', 'on']
    """
    selected = select_features(a, [i]), select_features(b, [j])
    documents = None if calibration is None else reporting_half(a)
    similarity = Similarity.activation(*selected, documents=documents)
    histogram = joint_histogram(*_activations(selected, documents))
    axes = new_axes(3.9, 3.4) if ax is None else ax
    _draw(axes, histogram, colorbar)
    n_tokens = a.n_tokens if documents is None else int(np.isin(a.tokens.document, documents).sum())
    short = [drawable(name, most=NAME) for name in names or (a.path.stem, b.path.stem)]
    axes.set_title(
        f"{_stated_r(similarity, calibration, i, j)} over {count(n_tokens)} tokens\n"
        f"both fire on {count(histogram.both)}, only the first on {count(histogram.only_a)}, "
        f"only the second on {count(histogram.only_b)}",
        fontsize=7.5,
        linespacing=1.3,
        parse_math=False,
    )
    of_a, of_b = (
        f"{name}: {feature_labels(store, [feature], LINE, decode, k=4)[0]}"
        for name, store, feature in zip(short, selected, (i, j), strict=True)
    )
    axes.set_xlabel(of_a, parse_math=False)
    axes.set_ylabel(of_b, parse_math=False)
    return axes


def _stated_r(similarity: Similarity, calibration: Calibration | None, i: int, j: int) -> str:
    """Return r of the one pair in words; a dash where the features fire too rarely."""
    assert similarity.counts is not None  # it compares tokens
    dead = bool(similarity.dead_rows[0] or similarity.dead_cols[0])
    r = float("nan") if dead else float(similarity.pairs([0], [0])[0])
    if calibration is None:
        return f"r = {fixed(r)}"
    matched, least = calibration.match, calibration.settings["min_firings"]
    words = "held-out r" if ((matched.rows == i) & (matched.cols == j)).any() else "r on the reporting half"
    rare = min(int(counts[0]) for counts in similarity.counts) < least
    return f"{words} = – (a feature fires fewer than {least} times)" if rare else f"{words} = {fixed(r)}"


def _activations(
    selected: tuple[FeatureStore, FeatureStore], documents: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], Values, NDArray[np.int64], Values]:
    """Return rows and activations of both features, on the tokens of some documents."""
    parts: list[Any] = []
    for store in selected:
        rows, values = store.feature(0)
        kept = slice(None) if documents is None else np.isin(store.tokens.document[rows], documents)
        parts += [rows[kept], values[kept]]
    return tuple(parts)  # type: ignore[return-value]


def joint_histogram(
    rows_a: NDArray[np.int64], values_a: Values, rows_b: NDArray[np.int64], values_b: Values, bins: int = BINS
) -> JointHistogram:
    """Count tokens by the activations of two features.

    Parameters
    ----------
    rows_a, rows_b
        Rising tokens [n] on which each feature fires.
    values_a, values_b
        Activations [n] there.
    bins
        Number of equal bins from 0, or from the least activation below it, to the largest.

    Examples
    --------
    >>> histogram = joint_histogram(np.array([1, 2, 5]), np.array([1.0, 2.0, 2.0]), np.array([2, 7]), np.ones(2))
    >>> histogram.both, histogram.only_a, histogram.only_b
    (1, 2, 1)
    """
    edges_a, edges_b = (
        np.linspace(values.min(initial=0), values.max(initial=0) or 1.0, bins + 1) for values in (values_a, values_b)
    )
    _, both_a, both_b = np.intersect1d(rows_a, rows_b, assume_unique=True, return_indices=True)
    tokens = np.zeros((bins + 1, bins + 1), np.int64)
    tokens[1:, 1:] = np.histogram2d(values_b[both_b], values_a[both_a], bins=(edges_b, edges_a))[0]
    tokens[0, 1:] = np.histogram(np.delete(values_a, both_a), edges_a)[0]
    tokens[1:, 0] = np.histogram(np.delete(values_b, both_b), edges_b)[0]
    return JointHistogram(tokens, edges_a, edges_b)


def _draw(axes: Axes, histogram: JointHistogram, colorbar: bool) -> None:
    shown = np.ma.masked_equal(histogram.tokens, 0)
    if not shown.count():
        say(axes, "neither fires on these tokens")
        return
    edges_a, edges_b = _with_strip(histogram.edges_a), _with_strip(histogram.edges_b)
    norm = LogNorm(1, max(float(shown.max()), 2.0))
    mesh = axes.pcolormesh(edges_a, edges_b, shown, cmap=DENSITY_MAP, norm=norm, rasterized=True)
    axes.axvline(edges_a[1], color="white", linewidth=2.5)
    axes.axhline(edges_b[1], color="white", linewidth=2.5)
    for axis, edges in ((axes.xaxis, edges_a), (axes.yaxis, edges_b)):
        nice = MaxNLocator(5).tick_values(edges[1], edges[-1])
        ticks = nice[(nice > edges[1]) & (nice <= edges[-1])]  # the lower edge is beside "silent"
        axis.set_ticks([edges[:2].mean(), *ticks], labels=["silent", *(f"{tick:g}" for tick in ticks)])
    if colorbar:
        bar = axes.figure.colorbar(mesh, ax=axes, label="tokens", shrink=0.82, aspect=26, pad=0.02)
        bar.set_ticks([tick for tick in TICKS if tick <= norm.vmax], minor=False)
        bar.set_ticks([], minor=True)
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))


def _with_strip(edges: Values) -> Values:
    """Put the strip for silent tokens, two bins wide, before the first edge."""
    return np.concatenate([[edges[0] - 2 * (edges[1] - edges[0])], edges])

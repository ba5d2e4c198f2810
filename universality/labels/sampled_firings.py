"""Samples of the tokens on which features fire, over the whole range of activation, and of tokens where they do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from universality.arrays import IntArray
from universality.checked_settings import CheckedSettings, Count, Natural
from universality.corpus.splits import REPORT
from universality.corpus.units import independent_units
from universality.errors import MismatchError
from universality.features.examples import NO_TOKEN, rows_around
from universality.features.storage.selected import read_features
from universality.features.storage.store import FeatureStore
from universality.labels.label_settings import LabelSettings

SILENT = 0
"""Interval of the samples on which the feature does not fire; intervals of activation count from 1."""


@dataclass(frozen=True)
class SpecificitySettings(CheckedSettings):
    """Samples of firings that are judged.

    Examples
    --------
    >>> SpecificitySettings(n_intervals=5).n_judged
    55
    """

    n_intervals: Annotated[Count, Ge(1)] = 10
    """Intervals of equal width into which the range of activation is cut, from 0 to the feature's maximum."""
    per_interval: Count = 5
    """Firings that are judged in each interval, drawn at random."""
    silent: Natural = 30
    """Tokens on which the feature does not fire, drawn at random."""
    floor: bool = True
    """Judge the same tokens by another feature's explanation too, the one that the label names as its floor."""

    @property
    def n_judged(self) -> int:
        """Tokens judged for a feature that fires often enough."""
        return self.n_intervals * self.per_interval + self.silent


@dataclass(frozen=True, eq=False)
class SampledFirings:
    """Sampled tokens of one feature; arrays have n_sampled rows.

    Parameters
    ----------
    feature
        Index in the store.
    row
        int64 [n], rows of the store.
    interval
        int64 [n], ``SILENT``, or the interval of the activation from 1 (weakest) on.
    activation
        float32 [n], 0 where silent.
    token
        int32 [n, width], tokens around each row; ``NO_TOKEN`` outside the block.
    work
        int32 [n], independent unit of the document.
    firings
        int64 [n_intervals], firings in each interval from which the samples were drawn.
    """

    feature: int
    row: IntArray
    interval: IntArray
    activation: npt.NDArray[np.float32]
    token: npt.NDArray[np.int32]
    work: npt.NDArray[np.int32]
    firings: IntArray


def sample_firings(
    store: FeatureStore,
    features: Iterable[int],
    settings: SpecificitySettings | None = None,
    label_settings: LabelSettings | None = None,
) -> Iterator[SampledFirings]:
    """Sample tokens of the half of the documents that reports, for one feature after another.

    Parameters
    ----------
    store
        An open store with that half.
    features
        Indices; visited in rising order.
    settings
        Numbers of samples.
    label_settings
        Tokens to show around each, and the seed.

    Yields
    ------
    SampledFirings
        Without samples where the feature does not fire in the half. Those of a feature do not depend on the others.

    Raises
    ------
    MismatchError
        If the store lacks the half.
    """
    settings, shown = settings or SpecificitySettings(), label_settings or LabelSettings()
    tokens = store.tokens
    token, document, block = np.asarray(tokens.token), np.asarray(tokens.document), tokens.block
    inside = (np.asarray(store.documents.split, dtype=np.str_) == REPORT)[document]
    half = np.flatnonzero(inside)
    if not half.size:
        raise MismatchError(f"{store.path}: expected documents of the split {REPORT!r}, found none")
    work = independent_units(store.documents).code.astype(np.int32)
    offsets = np.arange(-shown.before, shown.after + 1)
    for feature, rows, values in read_features(store, np.unique(np.fromiter(features, np.int64))):
        fires = (values > 0) & inside[rows]
        rng = np.random.default_rng([shown.seed, feature, 10])
        drawn = _drawn(rows[fires].astype(np.int64), values[fires], settings, half, rng)
        around = rows_around(block, drawn.row, offsets)
        yield SampledFirings(
            feature,
            drawn.row,
            drawn.interval,
            drawn.activation,
            np.where(around >= 0, token[around], NO_TOKEN).astype(np.int32),
            work[document[drawn.row]],
            drawn.firings,
        )


@dataclass(frozen=True, eq=False)
class _Drawn:
    row: IntArray
    interval: IntArray
    activation: npt.NDArray[np.float32]
    firings: IntArray


def _drawn(
    rows: IntArray,
    values: npt.NDArray[np.float32],
    settings: SpecificitySettings,
    half: IntArray,
    rng: np.random.Generator,
) -> _Drawn:
    """Draw firings of each interval, and silent tokens of the half."""
    n = settings.n_intervals
    if not rows.size:
        nothing = np.zeros(0, np.int64)
        return _Drawn(nothing, nothing, np.zeros(0, np.float32), np.zeros(n, np.int64))
    share = values.astype(np.float64) / float(values.max())
    interval = np.clip(np.ceil(share * n), 1, n).astype(np.int64)  # closed above
    chosen = np.concatenate(
        [rng.permutation(np.flatnonzero(interval == k))[: settings.per_interval] for k in range(1, n + 1)]
    )
    silent = _silent(rows, half, settings.silent, rng)
    return _Drawn(
        np.concatenate([rows[chosen], silent]),
        np.concatenate([interval[chosen], np.full(silent.size, SILENT)]),
        np.concatenate([values[chosen], np.zeros(silent.size, np.float32)]),
        np.bincount(interval, minlength=n + 1)[1:].astype(np.int64),
    )


def _silent(rows: IntArray, half: IntArray, n: int, rng: np.random.Generator) -> IntArray:
    """Draw rows of the half on which the feature, which fires on ``rows``, is silent."""
    some = np.unique(half[rng.integers(0, half.size, 4 * n)])  # enough, unless it fires on most tokens
    silent = some[~np.isin(some, rows)]
    if silent.size < n:
        silent = half[~np.isin(half, rows)]
    return np.asarray(rng.permutation(silent)[:n], np.int64)

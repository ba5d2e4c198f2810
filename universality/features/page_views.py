"""Examples and histograms of every feature for the report's pages, from one pass over a store.

Examples are the strongest firings, no two from one block, and firings at fixed quantiles of the activation, so that a
reader sees typical firings and not only the peaks (Bricken et al. 2023 show both).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from universality.features.examples import rows_around
from universality.features.storage.store import FeatureStore

STRONGEST, QUANTILES = 4, (0.9, 0.5, 0.1)
BEFORE, AFTER = 8, 4
BINS = 20
SCALE = 100
"""Activations are shown as integer shares of a feature's strongest: 1 to ``SCALE`` where it fires, else 0."""
_CANDIDATES = 64  # strongest firings that are searched for distinct blocks, without sorting all firings


@dataclass(frozen=True, eq=False)
class Views:
    """The examples and histograms of a store's features.

    Parameters
    ----------
    row
        int64 [n_features, n_examples], rows of the store: the strongest first, then one per quantile; -1 for none.
    own
        uint8 [n_features, n_examples, window], the feature's activations around each row, in shares of its strongest.
    strongest
        float32 [n_features], 0 for a feature that is never positive.
    histogram
        int64 [n_features, BINS] of positive activations from 0 to the strongest.
    """

    row: NDArray[np.int64]
    own: NDArray[np.uint8]
    strongest: NDArray[np.float32]
    histogram: NDArray[np.int64]


def feature_views(store: FeatureStore) -> Views:
    """Collect the views of all features of a store, in one pass."""
    n, examples = store.n_features, STRONGEST + len(QUANTILES)
    block = store.tokens.block
    row = np.full((n, examples), -1, np.int64)
    shown = np.zeros((n, examples, BEFORE + 1 + AFTER), np.uint8)
    strongest, histogram = np.zeros(n, np.float32), np.zeros((n, BINS), np.int64)
    for feature, every_row, every_value in store.each_feature():
        positive = every_value > 0
        rows, values = every_row[positive], every_value[positive]
        if not len(values):
            continue
        strongest[feature] = values.max()
        histogram[feature] = np.histogram(values, BINS, (0.0, float(strongest[feature])))[0]
        top, across = _pick(rows, values, block)
        row[feature, : len(top)] = rows[top]
        row[feature, STRONGEST : STRONGEST + len(across)] = rows[across]
        shown[feature] = shares(rows, values, strongest[feature], windows(block, row[feature]))
    return Views(row, shown, strongest, histogram)


def seen_by(store: FeatureStore, wanted: NDArray[np.int64], around: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Look up some features on given rows, in shares of their strongest: uint8 of ``around``'s shape.

    Parameters
    ----------
    wanted
        [n] features, none twice; -1 for none.
    around
        [n, …] rows, -1 for none.
    """
    seen = np.zeros(around.shape, np.uint8)
    slot = np.full(store.n_features, -1, np.int64)
    slot[wanted[wanted >= 0]] = np.flatnonzero(wanted >= 0)
    for feature, rows, values in store.each_feature():
        if slot[feature] >= 0 and len(values) and values.max() > 0:
            seen[slot[feature]] = shares(rows, values, values.max(), around[slot[feature]])
    return seen


def windows(block: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows around each row, -1 where its block ends or the row is -1: int64 [..., window]."""
    return rows_around(block, row, np.arange(-BEFORE, AFTER + 1))


def shares(
    rows: NDArray[np.int32], values: NDArray[np.float32], strongest: np.float32, around: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Activations at ``around`` as shares of the strongest, at least 1 where the feature fires; ``rows`` rise."""
    place = np.minimum(np.searchsorted(rows, around), len(rows) - 1)
    value = np.where(rows[place] == around, np.maximum(values[place], 0), 0)
    return np.where(value > 0, np.maximum(1, np.rint(value / strongest * SCALE)), 0).astype(np.uint8)


def _pick(
    rows: NDArray[np.int32], values: NDArray[np.float32], block: NDArray[np.int64]
) -> tuple[list[int], list[int]]:
    """Indices of the strongest firings, one per block, and of those at the quantiles, strongest first."""
    n = len(values)
    near = np.arange(n) if n <= _CANDIDATES else np.argpartition(-values, _CANDIDATES)[:_CANDIDATES]
    near = near[np.lexsort((near, -values[near]))]
    _, first = np.unique(block[rows[near]], return_index=True)
    top = near[np.sort(first)[:STRONGEST]].tolist()
    ranks = np.unique([int(q * (n - 1)) for q in QUANTILES])
    across = np.argpartition(values, ranks)[ranks][::-1].tolist()
    return top, [place for place in across if place not in top]

"""Most similar single neuron of each feature: if features were neurons, its r would be near 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.errors import MismatchError
from universality.statistics.held_out import evaluation_halves

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

MIN_FIRINGS = 10
"""Minimum number of tokens of each half on which a feature must fire."""
_ROWS = 8_192  # tokens at a time: 32 MB for 512 neurons


def best_neurons(store: FeatureStore, neurons: FeatureStore, features: IntArray) -> pd.DataFrame:
    """Find the neuron of the same model with the highest Pearson r for each feature (Bricken et al. 2023).

    The neuron is chosen on the documents of split "choose" and r computed on those of split "report". If one of the
    splits is missing, all documents are used for both.

    Parameters
    ----------
    store
        Features of a model.
    neurons
        Neurons of the same model, on all or some of the documents of ``store``.
    features
        [n] indices of the features.

    Returns
    -------
    pandas.DataFrame
        ``feature neuron r``, one row per feature; neuron -1 and r NaN for a feature that fires on fewer than
        ``MIN_FIRINGS`` tokens of a half.

    Raises
    ------
    MismatchError
        If the neurons hold tokens that ``store`` does not.
    """
    features = np.asarray(features, dtype=np.int64)
    if not features.size:
        return pd.DataFrame({"feature": features, "neuron": features, "r": features.astype(np.float64)})
    rows = _shared_rows(store, neurons)
    acts = np.stack([_column(store, int(j), rows) for j in features], axis=1)
    halves = evaluation_halves(neurons)
    both = [np.isin(neurons.tokens.document, half) for half in (halves.choose, halves.report) if half.size]
    chosen, *later = _pearson(acts, neurons, np.stack(both if len(both) == 2 else [np.ones(len(rows), bool)]))
    reported = later[0] if later else chosen
    neuron = np.nan_to_num(chosen, nan=-np.inf).argmax(axis=1)
    r = reported[np.arange(features.size), neuron]
    return pd.DataFrame({"feature": features, "neuron": np.where(np.isnan(r), -1, neuron), "r": r})


def _shared_rows(store: FeatureStore, neurons: FeatureStore) -> IntArray:
    """Find the rows of ``store`` that hold the tokens of ``neurons``, in the same order."""
    of_neurons, of_features = neurons.tokens, store.tokens
    rows = np.flatnonzero(np.isin(of_features.document, np.unique(of_neurons.document)))
    same = len(rows) == neurons.n_tokens and all(
        np.array_equal(getattr(of_features, name)[rows], getattr(of_neurons, name))
        for name in ("token", "document", "position")
    )
    if not same:
        raise MismatchError(
            f"{neurons.path}: expected whole documents of {store.path}, token by token, found others; collect "
            "features and neurons from the same blocks"
        )
    return rows


def _column(store: FeatureStore, feature: int, rows: IntArray) -> FloatArray:
    """Read one feature's activations on some token rows: [n_rows]."""
    fired, values = store.feature(feature)
    column = np.zeros(store.n_tokens)
    column[fired] = values
    return column[rows]


def _pearson(acts: FloatArray, neurons: FeatureStore, parts: BoolArray) -> FloatArray:
    """Compute Pearson's r [n_parts, n_features, n_neurons] over the tokens of each part.

    NaN where a neuron does not vary or a feature fires on fewer than ``MIN_FIRINGS`` tokens. ``parts`` [n_parts,
    n_tokens] are masks. Neurons are dense, so they are read once, in row blocks, for all parts and features.
    """
    n_parts, n_features = len(parts), acts.shape[1]
    fired = np.array([(acts[part] != 0).sum(axis=0) for part in parts])
    # As features are centred, xᵀy needs no centring of the neurons.
    x = np.hstack([np.where(part[:, None], acts - acts[part].mean(axis=0), 0) for part in parts])
    product = np.zeros((n_parts * n_features, neurons.n_features))
    total, square = np.zeros((2, n_parts, neurons.n_features))
    for start in range(0, neurons.n_tokens, _ROWS):
        stop = min(start + _ROWS, neurons.n_tokens)
        block = neurons.rows(slice(start, stop)).toarray().astype(np.float64)
        inside = parts[:, start:stop].astype(np.float64)
        product += x[start:stop].T @ block
        total += inside @ block
        square += inside @ np.square(block)
    product = product.reshape(n_parts, n_features, -1)
    variance = np.maximum(square - total * total / parts.sum(axis=1)[:, None], 0)
    spread = np.linalg.norm(x, axis=0).reshape(n_parts, n_features, 1) * np.sqrt(variance)[:, None, :]
    defined = (spread > 0) & (fired >= MIN_FIRINGS)[:, :, None]
    return np.divide(product, spread, out=np.full(product.shape, np.nan), where=defined)

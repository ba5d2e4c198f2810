"""The tokens that hold most of a feature's activation: its shortest description.

A token's *mass* is the sum of a feature's positive activations on it. Two rules keep uninformative tokens out of the
list:

- A single outlier does not decide: the strongest 1% of a feature's firings, at least one of them, count as the
  strongest firing below them.
- A token with less than 2% of the mass of the feature's heaviest token is left out. A feature with 99.7% of its mass
  on one token is described by that token alone; one that fires a little on everything keeps all of its tokens.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from universality.features.examples import Decode, decoded
from universality.features.storage.selected import read_features
from universality.features.storage.store import FeatureStore

_SORTED = 16  # sorting n tokens costs about as much as a table of 16 n vocabulary entries
TRIMMED = 0.01
"""Share of a feature's firings, the strongest, that count as the strongest firing below them."""
LEAST = 0.02
"""Share of the heaviest token's mass that a token needs to be listed."""


def top_tokens(store: FeatureStore, features: Iterable[int], k: int = 10) -> list[npt.NDArray[np.int64]]:
    """Find the distinct tokens that hold most of each feature's activation, heaviest first.

    Parameters
    ----------
    store
        An open store.
    features
        Indices of features.
    k
        Largest number of tokens per feature, >= 1.

    Returns
    -------
    list of int64 arrays ``[<= k]``
        Token ids, in the order of ``features``; empty for a feature that is never positive.
    """
    if k < 1:
        raise ValueError(f"expected k >= 1, found {k}")
    wanted = np.fromiter(features, dtype=np.int64)
    token = np.asarray(store.tokens.token)
    heaviest: dict[int, npt.NDArray[np.int64]] = {}
    for feature, rows, values in read_features(store, np.unique(wanted)):
        heaviest[feature] = heaviest_tokens(token[rows], values, k)
    return [heaviest[int(feature)] for feature in wanted]


def heaviest_tokens(token: npt.NDArray[np.int32], values: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int64]:
    """Find the tokens of largest trimmed mass, heaviest first, then by rising id.

    Parameters
    ----------
    token, values
        [n_firings] tokens on which one feature fires, and its activations.
    k
        Largest number of tokens.
    """
    positive = values > 0
    ids, mass = _sums(token[positive], trimmed(values[positive]))
    order = np.argsort(-mass, kind="stable")[:k]
    return ids[order[mass[order] >= LEAST * mass.max(initial=0)]]


def trimmed(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Lower the strongest ``TRIMMED`` of the positive activations [n] to the strongest below them."""
    cut = max(1, round(TRIMMED * len(values)))
    if len(values) <= cut:
        return values.astype(np.float64)
    place = len(values) - 1 - cut
    return np.minimum(values, np.partition(values, place)[place]).astype(np.float64)


def _sums(
    token: npt.NDArray[np.int32], values: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Sum values by token: distinct tokens, rising, and the sum of each."""
    if len(token) * _SORTED < token.max(initial=0):
        ids, index = np.unique(token.astype(np.int64), return_inverse=True)
        return ids, np.asarray(np.bincount(index, values, len(ids)), np.float64)
    mass = np.asarray(np.bincount(token, values), np.float64)
    ids = np.flatnonzero(mass).astype(np.int64)
    return ids, mass[ids]


def token_strings(
    store: FeatureStore, features: Iterable[int], k: int = 10, decode: Decode | None = None
) -> list[tuple[str, ...]]:
    """Find ``top_tokens`` and decode them; without ``decode`` they are decimal numbers."""
    tokens = top_tokens(store, features, k)
    if decode is None:
        return [tuple(str(int(i)) for i in ids) for ids in tokens]
    return [tuple(decoded(ids, decode)) for ids in tokens]

"""What is said of every feature wherever it appears, measured once an open store: top tokens, kind, purity."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from universality.features import specificity
from universality.features.examples import Decode, decoded
from universality.features.specificity import Specificity
from universality.features.storage.store import FeatureStore
from universality.features.top_tokens import heaviest_tokens, token_strings

MOST_TOKENS = 8


@dataclass(frozen=True, eq=False)
class About:
    """Features of one store.

    Parameters
    ----------
    tokens
        int32 [n_features, MOST_TOKENS], the tokens that hold most of each feature's activation, heaviest first (see
        `universality.features.top_tokens`); -1 where there are fewer.
    specificity
        Kinds of text on which they fire.
    """

    tokens: NDArray[np.int32]
    specificity: Specificity

    def strings(self, features: Sequence[int] | NDArray[np.int64], k: int, decode: Decode | None) -> list[Any]:
        """The first ``k`` tokens of some features as strings, as decimal numbers when there is no ``decode``."""

        @cache
        def string(token: int) -> str:
            return str(token) if decode is None else decoded(np.asarray([token]), decode)[0]

        chosen = self.tokens[np.asarray(features, dtype=np.int64), :k]
        return [tuple(string(token) for token in row if token >= 0) for row in chosen.tolist()]


_known: "WeakKeyDictionary[FeatureStore, About]" = WeakKeyDictionary()


def about(store: FeatureStore) -> About:
    """Measured at the first call, in one pass over the features."""
    if store not in _known:
        remember(store, _measure(store))
    return _known[store]


def remember(store: FeatureStore, measured: About) -> None:
    """Take what was measured before of the same contents."""
    _known[store] = measured
    specificity.remember(store, measured.specificity)


def _measure(store: FeatureStore) -> About:
    tokens = np.full((store.n_features, MOST_TOKENS), -1, np.int32)
    token, tally = np.asarray(store.tokens.token), specificity.Tally(store)
    for low, columns in specificity.column_blocks(store):
        tally.add(low, columns)
        for i in range(columns.shape[1]):
            span = slice(*columns.indptr[i : i + 2])
            ids = heaviest_tokens(token[columns.indices[span]], columns.data[span], MOST_TOKENS)
            tokens[low + i, : len(ids)] = ids
    return About(tokens, tally.result())


def shown_tokens(store: FeatureStore, features: Any, k: int, decode: Decode | None) -> list[Any]:
    """``token_strings``, from what is known of the store where that is enough."""
    if k > MOST_TOKENS:
        return token_strings(store, features, k, decode)
    return about(store).strings(np.fromiter(features, dtype=np.int64), k, decode)

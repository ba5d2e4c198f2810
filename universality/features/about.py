"""What is said of every feature wherever it appears, measured once an open store: top tokens, kind, purity."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from universality.features.examples import Decode, decoded
from universality.features.specificity import specificity
from universality.features.store import FeatureStore
from universality.features.top_tokens import token_strings, top_tokens

MOST_TOKENS = 8


@dataclass(frozen=True, eq=False)
class About:
    """Features of one store.

    Parameters
    ----------
    tokens
        int32 [n_features, MOST_TOKENS], distinct tokens of largest activation, -1 where there are fewer.
    kind
        int16 [n_features], code of the kind that holds most of its activation, -1 for a dead feature.
    purity
        float64 [n_features], how much of it.
    """

    tokens: NDArray[np.int32]
    kind: NDArray[np.int16]
    purity: NDArray[np.float64]

    def kind_names(self, store: FeatureStore) -> list[str | None]:
        """Name of each feature's kind, None for a dead feature."""
        kinds = store.tokens.kinds
        return [kinds[code] if code >= 0 else None for code in self.kind]

    def strings(self, features: Sequence[int] | NDArray[np.int64], k: int, decode: Decode | None) -> list[Any]:
        """The first ``k`` tokens of some features as strings, as decimal numbers when there is no ``decode``."""

        @cache
        def string(token: int) -> str:
            return str(token) if decode is None else decoded(np.asarray([token]), decode)[0]

        chosen = self.tokens[np.asarray(features, dtype=np.int64), :k]
        return [tuple(string(token) for token in row if token >= 0) for row in chosen.tolist()]


_known: "WeakKeyDictionary[FeatureStore, About]" = WeakKeyDictionary()


def about(store: FeatureStore) -> About:
    """Measured at the first call."""
    if store not in _known:
        tokens = np.full((store.n_features, MOST_TOKENS), -1, np.int32)
        for feature, ids in enumerate(top_tokens(store, range(store.n_features), MOST_TOKENS)):
            tokens[feature, : len(ids)] = ids
        found = specificity(store)
        _known[store] = About(tokens, found.kind, found.purity)
    return _known[store]


def remember(store: FeatureStore, measured: About) -> None:
    """Take what was measured before, from a file that names the store's contents."""
    _known[store] = measured


def shown_tokens(store: FeatureStore, features: Any, k: int, decode: Decode | None) -> list[Any]:
    """``token_strings``, from what is known of the store where that is enough."""
    if k > MOST_TOKENS:
        return token_strings(store, features, k, decode)
    return about(store).strings(np.fromiter(features, dtype=np.int64), k, decode)

"""Descriptions of features wherever they are shown: heaviest tokens, kind of text and purity.

Measuring takes one pass over a store. The result is an object that is passed on to whoever shows features, so nothing
is measured twice; `universality.pipeline.open_stores` keeps it in a file beside the store.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from universality.features.examples import Decode, decoded
from universality.features.specificity import Specificity, Tally
from universality.features.storage.store import FeatureStore
from universality.features.top_tokens import heaviest_tokens, token_strings

MOST_TOKENS = 8


@dataclass(frozen=True, eq=False)
class Described:
    """A store with the descriptions of its features.

    Parameters
    ----------
    store
        An open store.
    tokens
        int32 [n_features, MOST_TOKENS], the tokens that hold most of each feature's activation, heaviest first (see
        `universality.features.top_tokens`); -1 where there are fewer.
    specificity
        Kinds of text on which the features fire.
    """

    store: FeatureStore
    tokens: NDArray[np.int32]
    specificity: Specificity

    @classmethod
    def measure(cls, store: FeatureStore) -> Self:
        """Describe all features of a store, in one pass over them."""
        tokens = np.full((store.n_features, MOST_TOKENS), -1, np.int32)
        token, tally = np.asarray(store.tokens.token), Tally(store)
        for start, block in store.column_blocks():
            tally.add(start, block)
            for i in range(block.shape[1]):
                entries = slice(*block.indptr[i : i + 2])
                heaviest = heaviest_tokens(token[block.indices[entries]], block.data[entries], MOST_TOKENS)
                tokens[start + i, : len(heaviest)] = heaviest
        return cls(store, tokens, tally.result())

    def strings(self, features: Iterable[int], k: int, decode: Decode | None) -> list[tuple[str, ...]]:
        """The ``k`` heaviest tokens of some features as strings, as decimal numbers when there is no ``decode``."""
        if k > MOST_TOKENS:
            return token_strings(self.store, features, k, decode)

        @cache  # features share tokens, and a decoder may be slow
        def string(token: int) -> str:
            return str(token) if decode is None else decoded(np.asarray([token]), decode)[0]

        chosen = self.tokens[np.fromiter(features, dtype=np.int64), :k]
        return [tuple(string(token) for token in row if token >= 0) for row in chosen.tolist()]


def described(store: FeatureStore | Described) -> Described:
    """Describe a store, unless its descriptions are given already."""
    return store if isinstance(store, Described) else Described.measure(store)

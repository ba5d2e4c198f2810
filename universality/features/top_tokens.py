"""The tokens on which features are most active: a feature's shortest description."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from universality.features.examples import Decode, decoded, strongest_first
from universality.features.store import FeatureStore

_SPAN_VALUES = 2_000_000  # activations read at once, 16 MB
_FEW = 50  # a token asked for: more rows are looked at only where they hold too few distinct tokens
_SPAN_SHARE = 16  # a lone feature's read takes about as long as a span's with this many times its values


def top_tokens(store: FeatureStore, features: Iterable[int], k: int = 10) -> list[npt.NDArray[np.int64]]:
    """The ``k`` distinct tokens on which each feature is most active, by their largest activation.

    Parameters
    ----------
    store
        An open store.
    features
        Indices of features.
    k
        Tokens a feature at most, >= 1.

    Returns
    -------
    list of int64 arrays ``[<= k]``
        Token ids, in the order of ``features``; empty for a feature that is never positive.
    """
    if k < 1:
        raise ValueError(f"expected k >= 1, found {k}")
    wanted = np.fromiter(features, dtype=np.int64)
    token = np.asarray(store.tokens.token)
    found: dict[int, npt.NDArray[np.int64]] = {}
    for feature, rows, values in _columns(store, np.unique(wanted)):
        found[feature] = strongest_tokens(token, rows, values, k)
    return [found[int(feature)] for feature in wanted]


def strongest_tokens(
    token: npt.NDArray[np.int32], rows: npt.NDArray[np.int64], values: npt.NDArray[np.float32], k: int
) -> npt.NDArray[np.int64]:
    """Distinct tokens by largest activation, from as few of the strongest rows as hold ``k`` of them."""
    n = _FEW * k
    while True:
        strong = np.arange(len(values))
        if n < len(values):  # all rows as strong as the n-th strongest, so that ties are cut nowhere
            strong = np.flatnonzero(values >= np.partition(values, len(values) - n)[len(values) - n])
        strong = strong[strongest_first(values[strong])]
        ids = token[rows[strong]].astype(np.int64)
        _, first = np.unique(ids, return_index=True)
        if n >= len(values) or len(first) >= k:
            return ids[np.sort(first)[:k]]
        n *= 8


def token_strings(
    store: FeatureStore, features: Iterable[int], k: int = 10, decode: Decode | None = None
) -> list[tuple[str, ...]]:
    """``top_tokens`` as strings, as decimal numbers when there is no ``decode``."""
    found = top_tokens(store, features, k)
    if decode is None:
        return [tuple(str(int(i)) for i in ids) for ids in found]
    return [tuple(decoded(ids, decode)) for ids in found]


def _columns(
    store: FeatureStore, features: npt.NDArray[np.int64]
) -> Iterator[tuple[int, npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """Rows and values of rising features, neighbours read together: one read costs more than some values."""
    before = np.concatenate([[0], np.cumsum(store.moments().count)])
    at = 0
    while at < len(features):
        first = int(features[at])
        fits = np.flatnonzero(before[features[at:] + 1] - before[first] <= _SPAN_VALUES)
        n = max(1, len(fits))
        last = int(features[at + n - 1])
        if last - first + 1 > _SPAN_SHARE * n:
            n, last = 1, first
        block = store.columns(first, last + 1)
        for feature in features[at : at + n].tolist():
            span = slice(*block.indptr[feature - first : feature - first + 2])
            yield feature, block.indices[span], block.data[span]
        at += n

"""Some features of a store as a store of their own, of which only these features are read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray
from scipy import sparse

from universality.errors import UniversalityError
from universality.features.storage.moments import Moments
from universality.features.storage.store import FeatureStore
from universality.features.storage.token_table import Dictionary

_SPAN_VALUES = 2_000_000  # activations read at once, 16 MB
_SPAN_SHARE = 16  # reading one feature takes about as long as a span of this many times its values


def select_features(store: FeatureStore, features: npt.ArrayLike) -> FeatureStore:
    """Select some features of a store, in the order given, as a store that measures, matchings and figures take.

    Their activations are read at the first use and kept in memory, 16 bytes a firing; those of other features are not
    read. The store must stay open as long as the selection is used.

    Parameters
    ----------
    store
        An open store.
    features
        Indices [n] of features; one may occur twice.

    Raises
    ------
    UniversalityError
        If there are no indices, or some are out of range.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> writer = FeatureStore.create(f"{folder.name}/a.h5", n_features=3, provenance={})
    >>> rows = sparse.csr_matrix(np.array([[1.5, 0, 0], [0, 2, 4], [0, 3, 0]], np.float32))
    >>> writer.append(rows, token=[5, 6, 7], document=[0, 0, 0], position=[1, 2, 3], kind=["prose"] * 3)
    >>> with writer.finish() as store:
    ...     select_features(store, [2, 0]).csr().toarray().tolist()
    [[0.0, 1.5], [4.0, 0.0], [0.0, 0.0]]
    >>> folder.cleanup()
    """
    chosen = np.asarray(features)
    if chosen.ndim != 1 or not chosen.size or not np.issubdtype(chosen.dtype, np.integer):
        raise UniversalityError(
            f"{store.path.name}: expected a non-empty array of features [n], found {chosen.dtype} of shape "
            f"{chosen.shape}"
        )
    if chosen.min() < 0 or chosen.max() >= store.n_features:
        raise UniversalityError(
            f"{store.path.name}: features from 0 to {store.n_features - 1} exist, found {chosen.min()} to "
            f"{chosen.max()}"
        )
    return _Selected(store, chosen.astype(np.int64))


def read_features(
    store: FeatureStore, features: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.float32]]]:
    """Read rising features one by one: index, rows [n] on which it fires and activations [n] there.

    Neighbours are read together, since one read costs more than some unwanted values.
    """
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


class _Selected(FeatureStore):
    """A store that holds the activations of some features of another in memory, and reads the rest from its file."""

    def __init__(self, whole: FeatureStore, features: NDArray[np.int64]) -> None:
        m = whole.moments()
        of_them = Moments(m.n_tokens, m.count[features], m.sum[features], m.sum_sq[features], m.max[features])
        n_stored = int(of_them.count.sum())
        super().__init__(
            whole.path,
            whole._file,
            replace(whole._header, n_features=features.size, n_stored=n_stored, moments=of_them),
        )
        self._whole, self._features = whole, features

    @cached_property
    def _by_feature(self) -> sparse.csc_matrix:
        read = {feature: parts for feature, *parts in read_features(self._whole, np.unique(self._features))}
        rows, values = zip(*(read[feature] for feature in self._features.tolist()), strict=True)
        indptr = np.concatenate([[0], np.cumsum([len(part) for part in rows])])
        return sparse.csc_matrix(
            (np.concatenate(values), np.concatenate(rows), indptr), shape=(self.n_tokens, self.n_features)
        )

    @cached_property
    def _by_token(self) -> sparse.csr_matrix:
        return self._by_feature.tocsr()

    def _dictionary(self, features: NDArray[np.int64] | None = None) -> Dictionary | None:
        wanted = self._features if features is None else self._features[features]
        distinct, place = np.unique(wanted, return_inverse=True)
        read = self._whole._dictionary(distinct)
        if read is None:
            return None
        parts = (read.decoder, read.encoder, read.bias, read.residual)
        return Dictionary(*(None if part is None else part[place] for part in parts))  # type: ignore[arg-type]

    @cached_property
    def dictionary_hash(self) -> str:
        """64 hex digits over the dictionary and the unembedding of these features."""
        return self._of_these(self._whole.dictionary_hash)

    def content_hash(self) -> str:
        """64 hex digits over all contents but provenance, and over which features were selected."""
        return self._of_these(self._whole.content_hash())

    def verify(self) -> None:
        """Verify the whole store; see `FeatureStore.verify`."""
        self._whole.verify()

    def close(self) -> None:
        """Do nothing: the store that the features were selected from stays open."""

    def __reduce__(self) -> tuple[Callable[..., FeatureStore], tuple[Any, ...]]:
        return select_features, (self._whole, self._features)

    def _of_these(self, whole: str) -> str:
        return hashlib.sha256(whole.encode() + self._features.astype("<i8").tobytes()).hexdigest()

    def _span(self, group: str, start: int, stop: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        self._check_open()
        matrix = self._by_token if group == "by_token" else self._by_feature
        first, last = matrix.indptr[start], matrix.indptr[stop]
        indptr = matrix.indptr[start : stop + 1].astype(np.int64) - first
        return matrix.data[first:last], matrix.indices[first:last], indptr

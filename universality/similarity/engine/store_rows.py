"""Token rows of one store: in memory where they fit, otherwise read slice by slice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from universality.arrays import IntArray
from universality.features.storage.store import FeatureStore

MAX_GAP, MAX_SPAN = 512, 1 << 16  # unwanted rows that are read rather than skipped; rows that one read covers at most
ENTRY_BYTES = 8  # a stored activation: uint32 index and float32 value


class Rows(NamedTuple):
    """n token rows: row p holds ``indices[start[p]:stop[p]]`` with values ``data[start[p]:stop[p]]``."""

    start: IntArray
    stop: IntArray
    indices: npt.NDArray[np.uint32]
    data: npt.NDArray[np.float32]

    @property
    def n_entries(self) -> int:
        """Stored activations of these rows."""
        return int((self.stop - self.start).sum())

    def csr(self, n_features: int) -> sparse.csr_matrix:
        """Convert rows that were read from the disk to SciPy's matrix, float32 [n, n_features].

        Rows taken from a store in memory refer to its arrays and do not follow each other there.
        """
        indptr = np.append(self.start, self.stop[-1:])
        return sparse.csr_matrix((self.data, self.indices.view(np.int32), indptr), (self.start.size, n_features))


Values: TypeAlias = Callable[[Rows, IntArray], Rows]  # replaces the stored values of some token rows


@dataclass(frozen=True)
class StoreRows:
    """Random access to the token rows of a store.

    Parameters
    ----------
    store
        Store of the activations.
    whole
        All rows in memory, or None to read from the store at each `take`.
    values
        Values that a measure compares in place of the activations, or None.
    """

    store: FeatureStore
    whole: Rows | None
    values: Values | None = None

    @classmethod
    def open(cls, store: FeatureStore, in_memory: bool, values: Values | None = None) -> StoreRows:
        """Read the whole store if ``in_memory``; otherwise read nothing yet."""
        whole = _as_rows(store.csr()) if in_memory else None
        if whole is not None and values is not None:
            whole = values(whole, np.arange(store.n_tokens))
        return cls(store, whole, values)

    @property
    def n_features(self) -> int:
        """Columns of the store."""
        return int(self.store.n_features)

    def __reduce__(self) -> tuple[Callable[..., StoreRows], tuple[Any, ...]]:
        # Another process reads the rows itself.
        return _reread, (self.store, self.whole is not None, self.values)

    def take(self, rows: IntArray) -> Rows:
        """Take token rows in the given order, without a copy when the store is in memory."""
        if self.whole is not None:
            return Rows(self.whole.start[rows], self.whole.stop[rows], self.whole.indices, self.whole.data)
        distinct, back = np.unique(rows, return_inverse=True)
        parts = [self.store.rows(slice(low, high))[wanted - low] for low, high, wanted in _spans(distinct)]
        taken = _as_rows(sparse.vstack(parts, format="csr")[back])
        return taken if self.values is None else self.values(taken, rows)


_read: OrderedDict[tuple[Any, ...], StoreRows] = OrderedDict()
KEPT = 2  # stores that a worker process holds in memory: the two sides of a comparison


def _reread(store: FeatureStore, in_memory: bool, values: Values | None) -> StoreRows:
    """Open a store's rows in a worker process, or return those that it holds from an earlier unit."""
    if not in_memory:
        return StoreRows(store, None, values)
    key = store.path, store.content_hash(), getattr(values, "key", values)
    if key not in _read:
        _read[key] = StoreRows.open(store, in_memory, values)
    _read.move_to_end(key)
    while len(_read) > KEPT:
        _read.popitem(last=False)
    return _read[key]


def entries(store: FeatureStore) -> int:
    """Number of firings in a store, from its moments, without reading rows."""
    return int(store.moments().count.sum())


def _spans(rows: IntArray) -> Iterator[tuple[int, int, IntArray]]:
    """Cover rising rows by stretches low..high, and yield the rows in each: few reads, and none of them long."""
    breaks = np.flatnonzero((np.diff(rows) > MAX_GAP) | (np.diff(rows // MAX_SPAN) > 0)) + 1
    for low, high in pairwise([0, *breaks.tolist(), rows.size]):
        yield int(rows[low]), int(rows[high - 1]) + 1, rows[low:high]


def _as_rows(matrix: sparse.csr_matrix) -> Rows:
    indptr = matrix.indptr.astype(np.int64)
    # Unsigned for the kernels, see `token_kernels`; a view, since stored indices are not negative.
    indices = np.ascontiguousarray(matrix.indices).astype(np.int32, copy=False).view(np.uint32)
    return Rows(indptr[:-1], indptr[1:], indices, np.ascontiguousarray(matrix.data, dtype=np.float32))

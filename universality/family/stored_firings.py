"""Read firings by feature and by token in bounded memory.

A step between two widths walks the narrower store by feature, one block at a time from disk, and looks up the wider
store's token rows, which are in memory as a whole or, where that does not fit, for some features at a time.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import get_num_threads

from universality.arrays import IntArray, runs_within
from universality.errors import UniversalityError
from universality.similarity.engine.store_rows import ENTRY_BYTES, Rows

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from universality.features.storage.store import FeatureStore

BLOCK_ENTRIES = 1 << 23  # firings per block of features: 64 MB of rows and values


class Firings(NamedTuple):
    """Firings of features ``low`` to ``high``: ``low + i`` fires on the rows ``indptr[i]`` to ``indptr[i + 1]``."""

    low: int
    high: int
    indptr: IntArray
    row: npt.NDArray[np.uint32]
    value: npt.NDArray[np.float32]

    @property
    def arrays(self) -> tuple[IntArray, npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
        """The arrays that the compiled loops take."""
        return self.indptr, self.row, self.value

    def pieces(self) -> Iterator["Firings"]:
        """Cut the features into one piece per thread, with about equally many firings."""
        for low, high in runs_within(np.diff(self.indptr), -(-len(self.row) // get_num_threads())):
            yield Firings(self.low + low, self.low + high, self.indptr[low : high + 1], self.row, self.value)


class Part(NamedTuple):
    """Token rows of the features ``low`` to ``high`` of a store; column indices count from ``low``."""

    low: int
    high: int
    rows: Rows


def blocks(store: "FeatureStore", entries: int = BLOCK_ENTRIES) -> Iterator[Firings]:
    """Iterate over the features of a store, about ``entries`` firings at a time."""
    for low, high in runs_within(store.moments().count, entries):
        yield firings(store, low, high)


def firings(store: "FeatureStore", low: int, high: int) -> Firings:
    """Read the firings of the features ``low`` to ``high``."""
    columns = store.columns(low, high)
    _check_never_negative(store, columns.data)
    return Firings(low, high, columns.indptr.astype(np.int64), columns.indices.view(np.uint32), columns.data)


def parts(store: "FeatureStore", memory_budget: int) -> Iterator[Part]:
    """Iterate over token rows of the features, all at once if they fit into the budget."""
    if store.n_stored * ENTRY_BYTES <= memory_budget:
        yield Part(0, store.n_features, token_rows(store, store.csr()))
        return
    n_entries = memory_budget // (3 * ENTRY_BYTES)  # three copies: by column, by row, and one during the conversion
    for low, high in runs_within(store.moments().count, n_entries):
        yield Part(low, high, token_rows(store, store.columns(low, high).tocsr()))


def token_rows(store: "FeatureStore", matrix: "csr_matrix") -> Rows:
    """Return some rows of a store as the arrays that the compiled loops take."""
    _check_never_negative(store, matrix.data)
    indptr = matrix.indptr.astype(np.int64)
    # Unsigned indices spare the compiled loops numba's check for negative ones; the view copies nothing.
    return Rows(indptr[:-1], indptr[1:], matrix.indices.astype(np.int32, copy=False).view(np.uint32), matrix.data)


def _check_never_negative(store: "FeatureStore", values: npt.NDArray[np.float32]) -> None:
    if values.min(initial=0) < 0:
        raise UniversalityError(
            f"{store.path}: an activation of {values.min():.3g}, but families need activations that are never "
            "negative: whether such a feature fires is not defined"
        )

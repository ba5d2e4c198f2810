"""Reading stores in bounded memory: who fires on which token, by feature and by token.

A step between two widths walks the narrower store by feature, a block at a time from the disk, and looks up the
wider store's token rows, in memory as a whole or, where that does not fit, some of its features at a time.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from numba import get_num_threads

from universality.arrays import IntArray, runs_within
from universality.errors import UniversalityError
from universality.similarity.engine.store_rows import ENTRY_BYTES, Rows

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from universality.features.storage.store import FeatureStore

Item = TypeVar("Item")
Result = TypeVar("Result")

BLOCK_ENTRIES = 1 << 23  # firings of a block of features: 64 MB


class Firings(NamedTuple):
    """Features ``low`` to ``high``: ``low + i`` fires on ``row[indptr[i]:indptr[i + 1]]`` with ``value[...]``."""

    low: int
    high: int
    indptr: IntArray
    row: npt.NDArray[np.uint32]
    value: npt.NDArray[np.float32]

    @property
    def arrays(self) -> tuple[IntArray, npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
        """As the compiled loops take them."""
        return self.indptr, self.row, self.value

    def pieces(self) -> Iterator["Firings"]:
        """The same features in a portion for each thread."""
        for low, high in runs_within(np.diff(self.indptr), -(-len(self.row) // get_num_threads())):
            yield Firings(self.low + low, self.low + high, self.indptr[low : high + 1], self.row, self.value)


class Part(NamedTuple):
    """Token rows of the features ``low`` to ``high`` of a store, whose indices count from ``low``."""

    low: int
    high: int
    rows: Rows


def blocks(store: "FeatureStore", entries: int = BLOCK_ENTRIES) -> Iterator[Firings]:
    """All features of a store, about ``entries`` firings at a time."""
    for low, high in runs_within(store.moments().count, entries):
        yield firings(store, low, high)


def firings(store: "FeatureStore", low: int, high: int) -> Firings:
    """Features ``low`` to ``high``."""
    columns = store.columns(low, high)
    _check_never_negative(store, columns.data)
    return Firings(low, high, columns.indptr.astype(np.int64), columns.indices.view(np.uint32), columns.data)


def parts(store: "FeatureStore", memory_budget: int) -> Iterator[Part]:
    """Token rows of all features: at once where a copy and its making fit, else some features after others."""
    if store.n_stored * ENTRY_BYTES <= memory_budget:
        yield Part(0, store.n_features, token_rows(store, store.csr()))
        return
    n_entries = memory_budget // (3 * ENTRY_BYTES)  # by column, by row, between
    for low, high in runs_within(store.moments().count, n_entries):
        yield Part(low, high, token_rows(store, store.columns(low, high).tocsr()))


def token_rows(store: "FeatureStore", matrix: "csr_matrix") -> Rows:
    """The arrays of some rows of a store as the compiled loops take them."""
    _check_never_negative(store, matrix.data)
    indptr = matrix.indptr.astype(np.int64)
    return Rows(indptr[:-1], indptr[1:], matrix.indices.astype(np.int32, copy=False).view(np.uint32), matrix.data)


def _check_never_negative(store: "FeatureStore", values: npt.NDArray[np.float32]) -> None:
    if values.min(initial=0) < 0:
        raise UniversalityError(
            f"{store.path}: an activation of {values.min():.3g}, but families need activations that are never "
            "negative: whether such a feature fires is not defined"
        )


def share_out(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``[function(item) for item in items]`` on as many threads as numba has; the functions release the GIL."""
    with ThreadPoolExecutor(get_num_threads()) as pool:
        return list(pool.map(function, items))

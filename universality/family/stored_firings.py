"""Read firings by feature and by token in bounded memory.

A step between two widths walks the narrower store by feature, one block at a time from disk, and looks up the wider
store's token rows, which are in memory as a whole or, where that does not fit, for some features at a time.
"""

from collections.abc import Callable, Iterator
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from numba import get_num_threads

from universality.arrays import IntArray, runs_within
from universality.errors import UniversalityError
from universality.similarity.engine.store_rows import ENTRY_BYTES, Rows

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from universality.features.storage.store import FeatureStore

Value = TypeVar("Value")
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


def blocks(store: "FeatureStore", entries: int = BLOCK_ENTRIES) -> Iterator[tuple[int, int]]:
    """Cut the features of a store into ranges of about ``entries`` firings."""
    return runs_within(store.moments().count, entries)


def firings(store: "FeatureStore", low: int, high: int) -> Firings:
    """Read the firings of the features ``low`` to ``high``."""
    columns = store.columns(low, high)
    _check_never_negative(store, columns.data)
    return Firings(low, high, columns.indptr.astype(np.int64), columns.indices.view(np.uint32), columns.data)


def parts(store: "FeatureStore", memory_budget: int) -> Iterator[tuple[int, int]]:
    """Cut the features into ranges whose token rows fit into the budget, one range if all do."""
    if store.n_stored * ENTRY_BYTES <= memory_budget:
        return iter([(0, store.n_features)])
    n_entries = memory_budget // (3 * ENTRY_BYTES)  # three copies: by column, by row, and one during the conversion
    return runs_within(store.moments().count, n_entries)


def read_part(store: "FeatureStore", low: int, high: int) -> Part:
    """Read the token rows of the features ``low`` to ``high``."""
    is_whole = (low, high) == (0, store.n_features)
    return Part(low, high, token_rows(store, store.csr() if is_whole else store.columns(low, high).tocsr()))


class Held(Generic[Value]):
    """The value that was read last, for units that need the same one; threads wait for the one that reads it.

    Examples
    --------
    >>> held = Held()
    >>> held.get("a", lambda: 1), held.get("a", lambda: 2), held.get("b", lambda: 3)
    (1, 1, 3)
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._last: tuple[Any, Value] | None = None

    def get(self, key: Any, read: Callable[[], Value]) -> Value:
        """Return the value of a key, read unless it was the last."""
        with self._lock:
            if self._last is None or self._last[0] != key:
                self._last = None  # so that two are never held at once
                self._last = key, read()
            return self._last[1]

    def __reduce__(self) -> tuple[type["Held[Value]"], tuple[()]]:
        return Held, ()  # another process reads its own


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

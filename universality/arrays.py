"""Type aliases of arrays, and helpers that choose indices and cut sequences into runs."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


def evenly_spaced(n: int, wanted: int) -> IntArray:
    """Choose ``wanted`` indices spread evenly over range(n), or all of them where there are fewer.

    Examples
    --------
    >>> evenly_spaced(10, 4).tolist()
    [0, 3, 6, 9]
    """
    return np.unique(np.linspace(0, max(n - 1, 0), min(wanted, n)).round().astype(np.int64))


def runs_within(sizes: npt.NDArray[np.integer[Any]], limit: int) -> Iterator[tuple[int, int]]:
    """Cut a sequence into consecutive runs, each as long as its limit on the total size allows.

    Parameters
    ----------
    sizes
        [n_items] sizes, not negative.
    limit
        Largest total size of a run. An item that is larger makes a run of its own.

    Yields
    ------
    start, stop : int
        The items ``start`` up to ``stop``; the runs cover all items in order.

    Examples
    --------
    >>> list(runs_within(np.array([2, 2, 9, 1]), 5))
    [(0, 2), (2, 3), (3, 4)]
    """
    ends = np.cumsum(sizes)
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + limit, side="right")))
        yield start, stop
        start = stop


def to_runs(indices: IntArray) -> tuple[IntArray, IntArray]:
    """Describe indices by runs of consecutive ones: starts and lengths, in order.

    Rows of whole documents or blocks take a few numbers a run in place of one a row, which is what travels to workers.

    Examples
    --------
    >>> start, length = to_runs(np.array([4, 5, 6, 0, 1]))
    >>> start.tolist(), length.tolist(), from_runs(start, length).tolist()
    ([4, 0], [3, 2], [4, 5, 6, 0, 1])
    """
    first = np.flatnonzero(np.diff(indices, prepend=indices[:1] - 2) != 1)
    return indices[first], np.diff(first, append=indices.size)


def from_runs(start: IntArray, length: IntArray) -> IntArray:
    """Return the indices that `to_runs` described."""
    return np.repeat(start - np.cumsum(length) + length, length) + np.arange(length.sum())

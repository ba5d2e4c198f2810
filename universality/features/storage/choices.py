"""Choices of tokens, documents or features, given as a slice, a mask or indices."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def chosen_mask(store: str, name: str, choice: slice | ArrayLike | None, n: int) -> NDArray[np.bool_]:
    """Turn a choice among ``n`` into a mask bool [n]; see `chosen_indices`."""
    mask = np.zeros(n, bool)
    mask[chosen_indices(store, name, choice, n)] = True
    return mask


def chosen_indices(store: str, name: str, choice: slice | ArrayLike | None, n: int) -> NDArray[np.int64]:
    """Turn a choice among ``n`` into distinct indices; None chooses all.

    Raises
    ------
    ValueError
        If it is neither a slice, a mask bool [n], nor distinct integers in range; it names ``store`` and ``name``.

    Examples
    --------
    >>> chosen_indices("a.h5", "features", [True, False, True], 3).tolist()
    [0, 2]
    """
    if choice is None or isinstance(choice, slice):
        return np.arange(n)[choice or slice(None)]
    array = np.asarray(choice)
    if array.dtype == bool and array.shape == (n,):
        return np.flatnonzero(array)
    indices = array.astype(np.int64) if array.dtype.kind in "iu" or array.size == 0 else None
    if indices is None or indices.ndim != 1 or len(np.unique(indices)) < len(indices):
        raise ValueError(
            f"{store}: {name}= must be a slice, a mask of length {n} or distinct integers, "
            f"found {array.dtype} {list(array.shape)}"
        )
    if len(indices) and not 0 <= indices.min() <= indices.max() < n:
        raise ValueError(f"{store}: {name}= must lie in 0 … {n - 1}, found {indices.min()} … {indices.max()}")
    return indices

"""Checks of entries that another tool wrote; errors name the place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from universality.errors import FormatError


def check_index(where: str, name: str, values: NDArray[Any], limit: int, first: int = 0) -> None:
    """Check that integers lie in 0 … limit - 1; ``first`` is the number of the first entry within ``where``.

    Raises
    ------
    FormatError
        At the first entry that does not.

    Examples
    --------
    >>> check_index("a.npz", "feature", np.array([0, 7, 2]), 4, first=100)
    Traceback (most recent call last):
    universality.errors.FormatError: a.npz, entry 101: feature 7 is not in 0 … 3
    """
    if values.dtype.kind not in "iu":
        raise FormatError(f"{where}: {name} must be integers, found {values.dtype}")
    if len(values) and not 0 <= values.min() <= values.max() < limit:
        wrong = int(np.flatnonzero((values < 0) | (values >= limit))[0])
        raise FormatError(f"{where}, entry {first + wrong}: {name} {values[wrong]} is not in 0 … {limit - 1}")


def as_activations(where: str, values: NDArray[Any], first: int = 0) -> NDArray[np.float32]:
    """Return activations as float32.

    Raises
    ------
    FormatError
        At the first that is NaN, infinite, or beyond float32.
    """
    if values.dtype.kind not in "fiub":
        raise FormatError(f"{where}: activations must be real numbers, found {values.dtype}")
    with np.errstate(over="ignore"):  # an overflow becomes inf, which is refused below
        data = values.astype(np.float32)
    finite = np.isfinite(data)
    if not finite.all():
        wrong = int(np.flatnonzero(~finite)[0])
        raise FormatError(
            f"{where}, entry {first + wrong}: activations must be finite in float32, found {values[wrong]}"
        )
    return data

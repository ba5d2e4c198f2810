"""Types of the arrays that this package passes around, and how indices are spread and sizes are cut into runs."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


def evenly_spaced(n: int, wanted: int) -> IntArray:
    """``wanted`` indices spread evenly over range(n); all of them where there are fewer.

    >>> evenly_spaced(10, 4).tolist()
    [0, 3, 6, 9]
    """
    return np.unique(np.linspace(0, max(n - 1, 0), min(wanted, n)).round().astype(np.int64))

"""Even samples."""

import numpy as np
from numpy.typing import NDArray


def spread_evenly(n: int, wanted: int) -> NDArray[np.int64]:
    """``wanted`` indices spread evenly over range(n); all where there are fewer."""
    return np.unique(np.linspace(0, max(n - 1, 0), min(wanted, n)).round().astype(np.int64))

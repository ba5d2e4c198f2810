"""The median that every summary of scores gives."""

import numpy as np

from universality.similarity.rows import FloatArray


def known_median(scores: FloatArray) -> float:
    """The median of the scores that are known; NaN where none is.

    >>> known_median(np.array([0.1, np.nan, 0.5]))
    0.3
    """
    known = scores[~np.isnan(scores)]
    return float(np.median(known)) if known.size else float("nan")

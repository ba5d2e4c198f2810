"""Random codes of a batch, with unused slots, and the same as a dense array."""

import numpy as np

from universality.sae.compute.codes import Codes


def random_codes(rng: np.random.Generator, n: int, d_sae: int) -> tuple[Codes, np.ndarray]:
    """Rows of 0 to 11 features with unused slots between them, and the same dense."""
    dense = np.zeros((n, d_sae))
    start, stop = 12 * np.arange(n), np.empty(n, np.int64)
    indices, values = np.full(12 * n, d_sae - 1, np.int32), np.full(12 * n, 99.0)
    for t in range(n):
        count = int(rng.integers(0, 12))
        at = slice(12 * t, 12 * t + count)
        indices[at] = np.sort(rng.choice(d_sae, count, replace=False))
        values[at] = rng.uniform(0.1, 2, count)
        stop[t] = 12 * t + count
        dense[t, indices[at]] = values[at]
    return Codes(start, stop, indices, values, d_sae), dense

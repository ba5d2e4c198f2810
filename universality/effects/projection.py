"""Random projection of long vectors, with its error in r as measured.

Inner products of rows are kept up to an error: for k components of random signs, the r of two rows has a standard
deviation of about (1 − r²) / √k (Johnson and Lindenstrauss 1984). Signs are dense: the sparse ones of Li, Hastie and
Church (2006) have a larger error for vectors with most of their length in a few entries, as changes of probable tokens
are.

References
----------
Achlioptas 2003, *Database-friendly random projections*.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from universality.arrays import FloatArray

_ROWS = 1024  # of the matrix that exist at a time


@dataclass(frozen=True)
class ProjectionError:
    """Error in r by a projection, measured on pairs of rows whose r is known exactly."""

    rms: float
    """Root mean square."""
    largest: float
    """Largest absolute error."""
    n_pairs: int
    """Number of pairs."""


def project(x: NDArray[np.float32], n_components: int, seed: int) -> NDArray[np.float32]:
    """Project rows [n, d] to float32 [n, n_components] with a matrix of random signs divided by √n_components.

    Examples
    --------
    >>> x = np.eye(2, 5000, dtype=np.float32)
    >>> y = project(x, 4000, seed=0)
    >>> y.shape, bool(np.abs(y @ y.T - x @ x.T).max() < 0.06)
    ((2, 4000), True)
    """
    projected = np.zeros((len(x), n_components), np.float32)
    for low in range(0, x.shape[1], _ROWS):
        rng = np.random.default_rng([seed, low])
        part = x[:, low : low + _ROWS]
        signs = rng.integers(0, 2, (part.shape[1], n_components), np.int8).astype(np.float32) * 2 - 1
        projected += part @ signs
    return projected / np.float32(np.sqrt(n_components))


def projection_error(exact: FloatArray, projected: FloatArray) -> ProjectionError:
    """Compare the r of all pairs of rows, whose unit vectors are given with and without the projection."""
    upper = np.triu_indices(len(exact), 1)
    error = (projected @ projected.T - exact @ exact.T)[upper]
    if not error.size:
        return ProjectionError(float("nan"), float("nan"), 0)
    return ProjectionError(float(np.sqrt((error**2).mean())), float(np.abs(error).max()), int(error.size))

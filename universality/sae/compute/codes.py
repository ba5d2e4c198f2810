"""The features that fire on a batch of tokens, as (indices, values)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from universality.sae.compute import sparse_kernels as kernels


@dataclass(frozen=True)
class Codes:
    """On token t fire the features ``indices[start[t]:stop[t]]``, rising and distinct, with ``values[...]`` > 0.

    Slots between rows may be unused.
    """

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.floating]
    d_sae: int

    @property
    def n_tokens(self) -> int:
        """Number of rows."""
        return len(self.start)

    @property
    def nnz(self) -> int:
        """Number of firings."""
        return int((self.stop - self.start).sum())

    def csr(self) -> sparse.csr_matrix:
        """Convert to a matrix [n_tokens, d_sae], without unused slots."""
        indptr = np.zeros(self.n_tokens + 1, np.int64)
        np.cumsum(self.stop - self.start, out=indptr[1:])
        indices, values = self.indices, self.values
        if indptr[-1] != len(indices):
            indices, values = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], values.dtype)
            kernels.pack(self.start, self.stop, indptr, self.indices, self.values, indices, values)
        matrix = sparse.csr_matrix((self.n_tokens, self.d_sae), dtype=values.dtype)
        # assigned, since SciPy's constructor would scan all indices again
        matrix.data, matrix.indices = values, indices
        matrix.indptr = indptr.astype(np.int32) if indptr[-1] < np.iinfo(np.int32).max else indptr
        matrix.has_sorted_indices = matrix.has_canonical_format = True
        return matrix

    @staticmethod
    def of(matrix: sparse.csr_matrix) -> Codes:
        """Take the rows of a CSR matrix, sharing its arrays."""
        indptr = matrix.indptr.astype(np.int64)
        return Codes(indptr[:-1], indptr[1:], matrix.indices, matrix.data, matrix.shape[1])

    @staticmethod
    def concatenate(parts: Sequence[Codes]) -> Codes:
        """Concatenate the rows of all parts, in order."""
        if len(parts) == 1:
            return parts[0]
        shift = np.cumsum([0] + [len(part.indices) for part in parts])
        return Codes(
            np.concatenate([part.start + s for part, s in zip(parts, shift, strict=False)]),
            np.concatenate([part.stop + s for part, s in zip(parts, shift, strict=False)]),
            np.concatenate([part.indices for part in parts]),
            np.concatenate([part.values for part in parts]),
            parts[0].d_sae,
        )

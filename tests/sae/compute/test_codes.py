"""Codes with and without unused slots."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_array_equal
from scipy import sparse

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


def test_csr_is_canonical_and_leaves_out_unused_slots() -> None:
    codes, dense = random_codes(np.random.default_rng(0), 40, 60)
    matrix = codes.csr()
    assert_array_equal(matrix.toarray(), dense)
    assert matrix.nnz == codes.nnz
    fresh = sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
    assert fresh.has_canonical_format
    assert_array_equal(Codes.of(matrix).csr().toarray(), dense)


def test_concatenated_codes_are_stacked_rows() -> None:
    rng = np.random.default_rng(3)
    parts = [random_codes(rng, n, 20) for n in (3, 1, 5)]
    whole = Codes.concatenate([codes for codes, _ in parts])
    assert_array_equal(whole.csr().toarray(), np.vstack([dense for _, dense in parts]))

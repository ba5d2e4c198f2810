"""Codes with and without unused slots."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_array_equal
from random_codes import random_codes
from scipy import sparse

from universality.sae.compute.codes import Codes


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

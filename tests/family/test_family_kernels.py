"""The compiled loops equal dense products, however parents are grouped and tokens cut."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from universality.family import family_kernels as kernels
from universality.similarity.engine.store_rows import Rows

N_TOKENS, N_A, N_B, D_IN = 90, 7, 11, 8
THRESHOLDS = (0.3, 0.4, -1.0)


def sparse_codes(n: int, rng: np.random.Generator) -> np.ndarray:
    return ((rng.random((N_TOKENS, n)) < 0.3) * rng.gamma(4, 0.25, (N_TOKENS, n))).astype(np.float32)


def unit(rng: np.random.Generator, n: int) -> np.ndarray:
    rows = rng.standard_normal((n, D_IN))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def by_feature(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    columns = sparse.csc_matrix(x)
    return columns.indptr.astype(np.int64), columns.indices.view(np.uint32), columns.data


def by_token(x: np.ndarray) -> Rows:
    rows = sparse.csr_matrix(x)
    indptr = rows.indptr.astype(np.int64)
    return Rows(indptr[:-1], indptr[1:], rows.indices.view(np.uint32), rows.data)


@pytest.mark.parametrize(("group", "chunk"), [(1, N_TOKENS), (3, 10), (20, 7)])
def test_pairs_that_pass_equal_the_dense_definition(group: int, chunk: int) -> None:
    rng = np.random.default_rng(0)
    a, b = sparse_codes(N_A, rng), sparse_codes(N_B, rng)
    b[:, 2] = a[:, 1]  # a planted child
    x, y = unit(rng, N_A), unit(rng, N_B)
    meets = np.where(rng.random(N_TOKENS) < 0.8, rng.permutation(N_TOKENS), -1)
    meets[:30] = np.arange(30)
    eligible_a, eligible_b = np.arange(N_A) != 4, np.arange(N_B) != 5
    b_met = np.where(meets[:, None] >= 0, b[meets], 0).astype(np.float64)
    count, sum_sq = (b_met > 0).sum(axis=0), (b_met**2).sum(axis=0)
    ends, values, counts = kernels.find_pairs(
        by_feature(a), meets, by_token(b), count, sum_sq, eligible_a, eligible_b, x, y, THRESHOLDS, group, chunk
    )
    a_met = np.where(meets[:, None] >= 0, a, 0).astype(np.float64)
    fires_a, fires_b = (a_met > 0).astype(float), (b_met > 0).astype(float)
    both = fires_a.T @ fires_b
    norm = np.sqrt(np.minimum((a_met**2).sum(0)[:, None] * (fires_a.T @ b_met**2), (a_met**2).T @ fires_b * sum_sq))
    masked, coverage = (a_met.T @ b_met) / norm, both / count
    allowed = eligible_a[:, None] & eligible_b & (both > 0)
    passing = allowed & (coverage >= THRESHOLDS[0]) & (masked >= THRESHOLDS[1])
    assert 0 < passing.sum() < passing.size
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    assert_array_equal(ends[order], np.argwhere(passing))
    share = both / fires_a.sum(axis=0)[:, None]
    expected = [masked[passing], (x @ y.T)[passing], coverage[passing], share[passing]]
    assert_allclose(values[order], np.transpose(expected), atol=1e-6)
    covered, alike = allowed & (coverage >= THRESHOLDS[0]), allowed & (masked >= THRESHOLDS[1])
    assert_array_equal(counts, [allowed.sum(), covered.sum(), alike.sum(), passing.sum(), passing.sum()])


def test_moments_and_reconstructions_are_sums_over_token_rows() -> None:
    rng = np.random.default_rng(1)
    x, decoder = sparse_codes(N_B, rng), unit(rng, N_B)
    wanted = rng.permutation(N_TOKENS)[:40]
    count, sum_sq = np.zeros(N_B, np.int64), np.zeros(N_B)
    kernels.add_moments(by_token(x), wanted, count, sum_sq)
    assert_array_equal(count, (x[wanted] > 0).sum(axis=0))
    assert_allclose(sum_sq, (x[wanted].astype(np.float64) ** 2).sum(axis=0))
    out = np.empty((N_TOKENS, D_IN), np.float32)
    kernels.rebuild(by_token(x), decoder, out)
    assert_allclose(out, x @ decoder, atol=1e-5)

"""Pooled rows equal a loop over dense ones."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from universality.errors import UniversalityError
from universality.features.token_pooling import pool_rows

SLOW = {"max": np.max, "mean": np.mean, "sum": np.sum}


@pytest.mark.parametrize("how", SLOW)
@pytest.mark.parametrize("density", [0.05, 0.6, 1.0])
def test_equals_a_loop_over_dense_rows(how: str, density: float) -> None:
    rng = np.random.default_rng(0)
    dense = (rng.normal(size=(60, 9)) * (rng.random((60, 9)) < density)).astype(np.float32)  # negative ones too
    start = np.sort(rng.choice(np.arange(1, 60), 20, replace=False))
    start = np.concatenate([[0], start])
    expected = [SLOW[how](part, axis=0) for part in np.split(dense, start[1:])]
    found = pool_rows(sparse.csr_matrix(dense), start, how)
    assert_allclose(found.toarray(), expected, atol=1e-6)
    assert found.has_sorted_indices
    single = pool_rows(sparse.csr_matrix(dense), np.arange(60), how)
    assert_allclose(single.toarray(), dense, atol=1e-7)


def test_the_default_does_not_depend_on_how_many_tokens_a_word_has() -> None:
    """A feature of strength 3 on the last token of a word, which has one token or three."""
    one, three = sparse.csr_matrix([[3.0]]), sparse.csr_matrix([[0.0], [0.0], [3.0]])
    start = np.array([0])
    assert pool_rows(one, start)[0, 0] == pool_rows(three, start)[0, 0] == 3
    assert pool_rows(one, start, "mean")[0, 0] == 3 * pool_rows(three, start, "mean")[0, 0]


def test_nothing_fires() -> None:
    assert pool_rows(sparse.csr_matrix((4, 5), dtype=np.float32), np.array([0, 2])).nnz == 0


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(UniversalityError, match="unknown pool 'median'; choose one of max, mean, sum"):
        pool_rows(sparse.csr_matrix((1, 1)), np.array([0]), "median")  # type: ignore[arg-type]

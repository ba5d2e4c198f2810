"""What every Similarity can do, on arrays and factors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from universality.errors import UniversalityError
from universality.similarity import Similarity

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((30, 5)), RNG.standard_normal((43, 5))
DENSE = X @ Y.T


@pytest.fixture(params=["dense", "factors"])
def sim(request: pytest.FixtureRequest) -> Similarity:
    return Similarity.from_dense(DENSE) if request.param == "dense" else Similarity.from_factors(X, Y)


def test_blocks_pairs_and_dense_agree(sim: Similarity) -> None:
    assert sim.shape == (30, 43)
    assert_allclose(sim.dense(), DENSE, atol=1e-12)
    assert_allclose(np.vstack([b for _, b in sim.blocks(7)]), DENSE, atol=1e-12)
    assert_allclose(sim.block([4, 4, 1]), DENSE[[4, 4, 1]], atol=1e-12)
    i, j = RNG.integers(0, 30, 100), RNG.integers(0, 43, 100)
    assert_allclose(sim.pairs(i, j), DENSE[i, j], atol=1e-12)
    assert sim.pairs([], []).shape == (0,)


@pytest.mark.parametrize("k", [1, 3, 50])
def test_topk_equals_sorting(sim: Similarity, k: int) -> None:
    (col, col_score), (row, row_score) = sim.topk(k, axis=None)
    for index, score, matrix in ((col, col_score, DENSE), (row, row_score, DENSE.T)):
        order = np.argsort(-matrix, axis=1, kind="stable")[:, :k]
        assert_array_equal(index[:, : order.shape[1]], order)
        assert_allclose(score[:, : order.shape[1]], np.take_along_axis(matrix, order, axis=1), atol=1e-12)
        assert_array_equal(index[:, order.shape[1] :], -1)
        assert_array_equal(score[:, order.shape[1] :], np.nan)
    assert_array_equal(sim.topk(k, axis=0)[0], row)
    assert_array_equal(sim.topk(k)[0], col)


def test_of_equal_scores_the_lower_index_wins() -> None:
    sim = Similarity.from_dense(np.array([[1.0, 2, 2, 2], [2, 2, 0, 2]]))
    assert_array_equal(sim.topk(3)[0], [[1, 2, 3], [0, 1, 3]])
    assert_array_equal(sim.topk(1, axis=0)[0].ravel(), [1, 0, 0, 0])


def test_dead_features_score_0_and_are_nobodys_partner() -> None:
    dead_rows, dead_cols = np.arange(30) % 7 == 2, np.arange(43) % 5 == 1
    sim = Similarity.from_dense(DENSE, dead_rows, dead_cols)
    expected = np.where(dead_rows[:, None] | dead_cols, 0, DENSE)
    assert_array_equal(sim.dense(), expected)
    assert_array_equal(sim.pairs([2, 0, 0], [0, 1, 0]), [0, 0, DENSE[0, 0]])
    (col, _), (row, _) = sim.topk(2, axis=None)
    assert_array_equal(col[dead_rows], -1)
    assert not np.isin(col, np.flatnonzero(dead_cols)).any()
    assert not np.isin(row, np.flatnonzero(dead_rows)).any()
    i, j, _ = sim.above(-100)
    assert i.size == (~dead_rows).sum() * (~dead_cols).sum()
    assert not dead_cols[j].any()


def test_rows_of_zeros_are_dead_factors() -> None:
    x = X.copy()
    x[3] = 0
    assert_array_equal(np.flatnonzero(Similarity.from_factors(x, Y).dead_rows), [3])


def test_above_lists_the_pairs_over_a_threshold(sim: Similarity) -> None:
    i, j, score = sim.above(2.0)
    assert_array_equal(np.transpose([i, j]), np.argwhere(DENSE >= 2.0))
    assert_allclose(score, DENSE[i, j], atol=1e-12)
    assert sim.above(1e9)[0].size == 0


def test_the_callers_array_stays_as_it_is() -> None:
    given = DENSE.copy()
    sim = Similarity.from_dense(given, dead_rows=np.ones(30, bool))
    sim.block(slice(None))[:] = 7
    assert_array_equal(given, DENSE)


def test_a_dense_array_over_the_budget_is_refused(sim: Similarity) -> None:
    with pytest.raises(
        UniversalityError, match=r"30 x 43\) takes 10,320 bytes as a dense array, over the budget of 10,000"
    ):
        sim.dense(10_000)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(3), r"from_dense: expected two axes, found shape \(3,\)"),
        (np.array([[0.0, 1], [np.nan, 0]]), r"from_dense: nan at \[1, 0\]; replace it by 0"),
    ],
)
def test_arrays_that_are_no_scores_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(UniversalityError, match=message):
        Similarity.from_dense(array)


def test_factors_of_two_widths_are_refused() -> None:
    with pytest.raises(
        UniversalityError, match=r"expected x \[n_rows, k\] and y \[n_cols, k\], found \(30, 5\) and \(43, 4\)"
    ):
        Similarity.from_factors(X, Y[:, :4])


def test_masks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UniversalityError, match=r"dead_rows must be bool \[30\], found int64 \(2,\)"):
        Similarity.from_dense(DENSE, dead_rows=[1, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.block([30]), "row indices from 0 to 29 exist, found 30 to 30"),
        (lambda s: s.pairs([0], [-1]), "column indices from 0 to 42 exist, found -1 to -1"),
        (lambda s: s.block([0.5]), r"expected a slice or an array of integers \[n\], found float64"),
        (lambda s: s.pairs([0, 1], [0]), "2 rows and 1 columns do not pair up"),
        (lambda s: s.pairs([0], [0], by="document"), "by='document'; expected None or 'group'"),
        (lambda s: s.topk(0), "expected k >= 1 and axis 0, 1 or None, found k=0"),
        (lambda s: s.topk(1, axis=2), "found k=1, axis=2"),
    ],
)
def test_wrong_calls_are_refused(sim: Similarity, call: object, message: str) -> None:
    with pytest.raises(UniversalityError, match=message):
        call(sim)  # type: ignore[operator]


@pytest.mark.parametrize("measure", ["activation", "firing", "attribution", "masked_cosine", "logit", "decoder"])
def test_what_is_no_store_is_refused_with_the_way_to_one(measure: str) -> None:
    compare = getattr(Similarity, measure)
    with pytest.raises(
        TypeError, match=r"expected an open FeatureStore, found 'a\.h5'; open one with FeatureStore\.open"
    ):
        compare("a.h5", "b.h5")
    with pytest.raises(TypeError, match=r"found ndarray; .* give scores that you have to Similarity\.from_dense"):
        compare(np.eye(2), np.eye(2))

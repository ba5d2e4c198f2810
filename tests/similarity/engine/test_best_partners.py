"""Best partners of blocks and of lists of co-firing pairs are those of a sorted matrix."""

from __future__ import annotations

from pathlib import Path

import numba
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import Planted, concepts, planted, text, write_store

from universality.similarity import Similarity
from universality.similarity.engine import cofiring, comoments
from universality.similarity.measures.activation import ActivationPearson

SEEN = text(24)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Some features fire so rarely that their best partners include ones that they never fire with."""
    return planted(tmp_path_factory.mktemp("plant"), SEEN, n_shared=40, n_alone=30)


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    rng = np.random.default_rng(1)
    folder = tmp_path_factory.mktemp("rare")
    a, b = (concepts(SEEN.n_tokens, np.geomspace(0.0005, 0.1, n), rng) for n in (50, 70))
    a[:, 7] = 0
    b[:, 3] = 0.25  # constant: fires everywhere, never varies
    return Planted(*(write_store(folder / f"{n}.h5", x, SEEN) for n, x in zip("ab", (a, b), strict=True)), a[:0], a[:0])


def expected(dense: np.ndarray, dead_rows: np.ndarray, dead_cols: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """By sorting a whole matrix: larger scores first, of equal ones the lower index."""
    scores = np.where(dead_rows[:, None] | dead_cols, -np.inf, dense)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, axis=1)
    return np.where(best == -np.inf, -1, order), np.where(best == -np.inf, np.nan, best)


MEASURES = {
    "pearson": Similarity.activation,
    "masked_cosine": Similarity.masked_cosine,
    "coverage": Similarity.coverage,
}


@pytest.mark.parametrize("world", ["plant", "rare"])
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("k", [1, 6, 200])
def test_listed_equals_sorted(
    world: str, measure: str, k: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = request.getfixturevalue(world)
    dense = MEASURES[measure](stores.a, stores.b)
    scores = dense.dense().round(9)  # sums of another order differ by rounding
    monkeypatch.setattr(comoments, "LISTED_ABOVE", 0)
    listed = MEASURES[measure](stores.a, stores.b)
    assert listed._source.listed  # type: ignore[attr-defined]
    assert not np.array_equal(scores[0], 0)
    assert_allclose(listed.dense().round(9), scores, atol=2e-9)
    for (index, score), matrix, dead in zip(
        listed.topk(k, axis=None),
        (scores, scores.T),
        ((dense.dead_rows, dense.dead_cols), (dense.dead_cols, dense.dead_rows)),
        strict=True,
    ):
        order, best = expected(matrix, *dead, min(k, matrix.shape[1]))
        assert_allclose(score[:, : order.shape[1]], best, atol=2e-9)
        row = np.broadcast_to(np.arange(len(index))[:, None], order.shape)
        there = order >= 0
        assert_array_equal(index[:, : order.shape[1]] >= 0, there)
        assert_allclose(matrix[row[there], index[:, : order.shape[1]][there]], best[there], atol=2e-9)
    assert_array_equal(listed.topk(k, axis=0)[0], listed.topk(k, axis=None)[1][0])


def test_prices_and_thresholds_change_who_is_best() -> None:
    x, y = RNG.standard_normal((60, 4)), RNG.standard_normal((80, 4))
    prices, threshold = RNG.uniform(-1, 2, 80), RNG.uniform(-1, 3, 60)
    scores = x @ y.T
    for sim in (Similarity.from_dense(scores), Similarity.from_factors(x, y)):
        best = sim.best(3, prices, threshold)
        keys = np.where(scores - prices > threshold[:, None], scores - prices, -np.inf)
        order = np.argsort(-keys, axis=1, kind="stable")[:, :3]
        there = np.take_along_axis(keys, order, axis=1) > -np.inf
        assert_array_equal(best.partner, np.where(there, order, -1))
        assert_allclose(best.score[there], np.take_along_axis(scores, order, axis=1)[there], atol=1e-12)


def test_prices_over_listed_pairs(rare: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    prices, threshold = RNG.uniform(-0.01, 0.05, 70), RNG.uniform(-0.06, 0.02, 50)
    dense = Similarity.activation(rare.a, rare.b)
    wanted = Similarity.from_dense(dense.dense(), dense.dead_rows, dense.dead_cols).best(9, prices, threshold)
    monkeypatch.setattr(comoments, "LISTED_ABOVE", 0)
    found = Similarity.activation(rare.a, rare.b).best(9, prices, threshold)
    assert (wanted.score[wanted.partner >= 0] < 0).any()  # the background is among them
    assert_allclose(found.key, wanted.key, atol=1e-12)
    assert_array_equal(found.partner, wanted.partner)


def test_lists_do_not_depend_on_threads_or_stripes(plant: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comoments, "LISTED_ABOVE", 0)
    wanted = Similarity.activation(plant.a, plant.b).topk(3, axis=None)
    monkeypatch.setattr(cofiring, "STRIPE", 100)  # a row or two each
    for n_threads in (1, 3):
        monkeypatch.setattr(numba, "get_num_threads", lambda n=n_threads: n)
        for lists, others in zip(Similarity.activation(plant.a, plant.b).topk(3, axis=None), wanted, strict=True):
            assert_array_equal(lists[0], others[0])
            assert_array_equal(lists[1], others[1])


def test_of_equal_scores_the_lower_index_comes_first_in_long_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of common firings are small integers, so nearly every list ends among equal scores."""
    rng = np.random.default_rng(2)
    a, b = ((rng.random((SEEN.n_tokens, 90)) < 0.05).astype(float) for _ in range(2))
    stores = [write_store(tmp_path / f"{n}.h5", x, SEEN) for n, x in zip("ab", (a, b), strict=True)]
    monkeypatch.setattr(comoments, "LISTED_ABOVE", 0)
    counts = a.T @ b
    for (index, _), matrix in zip(Similarity.coverage(*stores).topk(5, axis=None), (counts, counts.T), strict=True):
        order = np.argsort(-matrix, axis=1, kind="stable")
        fifth, sixth = np.take_along_axis(matrix, order[:, 4:6], axis=1).T
        assert (fifth == sixth).mean() > 0.5
        assert_array_equal(index, order[:, :5])


def test_a_measure_that_changes_its_scores_does_without_scales(plant: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    class Halved(ActivationPearson):
        name = "halved"

        def scores(self, values, i, j):  # type: ignore[no-untyped-def]
            return super().scores(values, i, j) / 2

        def background(self):  # type: ignore[no-untyped-def]
            x, y = super().background()
            return x, y / 2

    monkeypatch.setattr(comoments, "LISTED_ABOVE", 0)
    whole = ActivationPearson.of(plant.a, plant.b)
    halved = Halved.of(plant.a, plant.b)
    assert whole.scales() is not None
    assert halved.scales() is None
    (index, score), (wanted, double) = (Similarity(source).topk(4) for source in (halved, whole))
    assert_array_equal(index, wanted)
    assert_allclose(2 * score, double, atol=1e-12)

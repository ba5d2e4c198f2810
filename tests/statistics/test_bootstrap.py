"""Intervals cover what they should, and are withheld where groups cannot tell."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import BLOCK, Array, Text, concepts, dense, noisy, pearson, text, write_store

from universality.errors import UniversalityError
from universality.report import sample
from universality.similarity import Similarity
from universality.statistics import bootstrap_intervals
from universality.statistics.bootstrap import MIN_RESAMPLED_GROUPS, resampled


def test_equals_recomputing_r_on_every_resample(tmp_path: Path) -> None:
    seen = text(9)
    rng = np.random.default_rng(0)
    a, b = (write_store(tmp_path / f"{n}.h5", concepts(seen.n_tokens, [0.2, 0.1, 0.3], rng), seen) for n in "ab")
    i, j = np.array([0, 1, 2, 2]), np.array([2, 1, 0, 1])
    low, high = bootstrap_intervals(Similarity.activation(a, b), i, j, draws=50, seed=3)
    drawn = np.random.default_rng(3).multinomial(9, np.full(9, 1 / 9), size=50)

    def z(weights: np.ndarray) -> np.ndarray:
        rows = np.repeat(np.arange(seen.n_tokens), weights[seen.document])
        return np.arctanh(pearson(dense(a)[rows], dense(b)[rows])[i, j])

    left_out = np.array([z(1 - np.eye(9, dtype=int)[g]) for g in range(9)])
    influence = 8 / 9 * (left_out.mean(axis=0) - left_out)
    error = [influence[np.repeat(np.arange(9), weights)].std(axis=0) * 3 for weights in drawn]
    t = np.quantile(
        np.abs([z(weights) for weights in drawn] - z(np.ones(9, int))) / error, 0.95, axis=0, method="higher"
    )
    reach = t * influence.std(axis=0) * 3
    assert_allclose([low, high], np.tanh([z(np.ones(9, int)) - reach, z(np.ones(9, int)) + reach]), atol=1e-9)
    for budget in (6000, 1 << 30):  # in portions of one pair, and all at once
        portions = bootstrap_intervals(Similarity.activation(a, b), i, j, draws=50, seed=3, memory_budget=budget)
        assert_allclose(portions, [low, high], atol=1e-12)


def test_intervals_cover_the_truth_as_often_as_they_say(tmp_path: Path) -> None:
    """A hundred pairs with one true r; a control: intervals from single tokens would do here, documents too."""
    seen = text(100, blocks=1)
    rng = np.random.default_rng(1)
    clean = concepts(seen.n_tokens, np.full(100, 0.15), rng)
    a, b = (write_store(tmp_path / f"{n}.h5", noisy(clean, 0.3, rng), seen) for n in "ab")
    big = concepts(400_000, [0.15], rng)
    truth = pearson(noisy(big, 0.3, rng), noisy(big, 0.3, rng))[0, 0]
    i = np.arange(100)
    low, high = bootstrap_intervals(Similarity.activation(a, b), i, i, draws=300)
    covered = ((low <= truth) & (truth <= high)).mean()
    assert 0.89 <= covered <= 0.99
    assert ((low <= truth - 0.2) & (truth - 0.2 <= high)).mean() < 0.1


def test_documents_that_differ_widen_the_interval(tmp_path: Path) -> None:
    """Bursts by document: an interval that took tokens for independent would be far too narrow."""
    seen = text(40, kinds=("x",))
    rng = np.random.default_rng(2)
    topic = rng.random((40, 2)) < 0.5
    burst = np.repeat(topic, seen.n_tokens // 40, axis=0)
    fires = rng.random(burst.shape) < np.where(burst, 0.6, 0.02)
    a = write_store(tmp_path / "a.h5", fires.astype(float), seen)
    sim = Similarity.activation(a, a)
    low, high = bootstrap_intervals(sim, np.array([0]), np.array([1]), draws=300)
    by_token = 2 * 1.96 / np.sqrt(seen.n_tokens)
    assert high[0] - low[0] > 3 * by_token


def unevenly_noisy(seen: Text, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Pairs that agree more in some documents than in others, all of them in the same."""
    clean = concepts(seen.n_tokens, np.full(n, 0.2), rng)
    missed = rng.random(len(seen.documents.id))[seen.document][:, None]
    a, b = (clean * (rng.random(clean.shape) > missed) for _ in range(2))
    return a, b


def test_the_medians_interval_covers_other_documents_where_the_one_over_features_does_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = pearson(*unevenly_noisy(text(3000, blocks=1), 1, rng))[0, 0]
    seen, i = text(720, blocks=1), np.arange(40)
    x, y = unevenly_noisy(seen, i.size, rng)
    everything = Similarity.activation(write_store(tmp_path / "a.h5", x, seen), write_store(tmp_path / "b.h5", y, seen))
    over_documents, over_features = [], []
    for first in range(0, 720, 30):
        sim = everything.restrict(np.arange(first, first + 30))
        found = resampled(partial(sim.pairs, by="group"), i, i, draws=200)
        assert found.n_groups == 30
        low, high = found.median
        assert low < np.median(sim.pairs(i, i)) < high
        over_documents.append(low <= truth <= high)
        known = sample("features", "", sim.pairs(i, i)).population()
        over_features.append(known.low <= truth <= known.high)
    assert np.mean(over_documents) >= 0.85
    assert np.mean(over_features) < 0.7


def test_the_median_has_no_interval_where_its_draws_do_not_fit(tmp_path: Path) -> None:
    seen = text(9)
    x = concepts(seen.n_tokens, np.full(20, 0.3), np.random.default_rng(0))
    sim = Similarity.activation(*[write_store(tmp_path / "a.h5", x, seen)] * 2)
    i = np.arange(20)
    small, large = (
        resampled(partial(sim.pairs, by="group"), i, i[::-1], draws=50, memory_budget=budget) for budget in (4500, 5000)
    )
    assert_array_equal(small.low, large.low)
    assert_array_equal(np.isnan([small.median, large.median]), [[True, True], [False, False]])


def test_r_that_hangs_on_one_document_has_no_interval(tmp_path: Path) -> None:
    """One of forty documents holds nearly all that the pair shares: an interval would reach from -1 to 1."""
    seen = text(40, kinds=("x",))
    rng = np.random.default_rng(0)
    rate = np.where(seen.document == 3, 0.5, 0.002)[:, None]
    shared = (rng.random((seen.n_tokens, 1)) < rate) * rng.gamma(4.0, 0.25, (seen.n_tokens, 1))
    wide = concepts(seen.n_tokens, [0.2], rng)
    a, b = (write_store(tmp_path / f"{n}.h5", noisy(np.hstack([shared, wide]), 0.2, rng), seen) for n in "ab")
    i = np.arange(2)
    low, high = bootstrap_intervals(Similarity.activation(a, b), i, i, draws=200)
    assert_array_equal(np.isnan(low), [True, False])
    assert high[1] - low[1] < 0.3


def test_of_two_equal_features_the_interval_is_the_score(tmp_path: Path) -> None:
    seen = text(12)
    a = write_store(tmp_path / "a.h5", concepts(seen.n_tokens, [0.3], np.random.default_rng(0)), seen)
    bounds = bootstrap_intervals(Similarity.activation(a, a), np.array([0]), np.array([0]), draws=50)
    assert_allclose(bounds, 1, atol=1e-9)


def test_one_group_or_a_feature_of_one_or_two_groups_has_no_interval(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seen = text(8)
    x = concepts(seen.n_tokens, [0.3, 0.3, 0.3], rng)
    x[seen.document != 5, 1] = 0
    x[~np.isin(seen.document, (1, 6)), 2] = 0
    a = write_store(tmp_path / "a.h5", x, seen)
    b = write_store(tmp_path / "b.h5", noisy(x, 0.3, rng), seen)
    i = np.arange(3)
    low, high = bootstrap_intervals(Similarity.activation(a, b), i, i, draws=200)
    assert_array_equal(np.isnan(low), [False, True, True])
    assert_array_equal(np.isnan(high), np.isnan(low))
    alone = Similarity.activation(a, a, documents=[2])
    assert_array_equal(bootstrap_intervals(alone, i, i, draws=20), np.nan)
    assert bootstrap_intervals(alone, i[:0], i[:0])[0].size == 0


@pytest.mark.parametrize("n_groups", range(1, 13))
def test_few_groups_have_no_interval_or_one_that_covers(tmp_path: Path, n_groups: int, true_r: float) -> None:
    """Features of few topics, which each group has or has not: two groups gave [r, r], which never covered."""
    seen = text(n_groups, blocks=2, kinds=("x",))
    rng = np.random.default_rng(n_groups)
    i = np.arange(240)
    clean = (rng.random((n_groups, i.size)) < 0.5)[seen.document] * concepts(seen.n_tokens, np.full(i.size, 0.3), rng)
    a, b = (write_store(tmp_path / f"{n}.h5", noisy(clean, 0.3, rng), seen) for n in "ab")
    low, high = bootstrap_intervals(Similarity.activation(a, b), i, i, draws=200)
    given = ~np.isnan(low)
    if n_groups < MIN_RESAMPLED_GROUPS:
        assert not given.any()
        return
    assert given.mean() > (0.1 if n_groups < 8 else 0.7)
    assert ((low <= true_r) & (true_r <= high))[given].mean() >= 0.9
    assert (high - low)[given].min() > 0.01


@pytest.fixture(scope="module")
def true_r() -> float:
    """r of such a pair on as much text as one likes."""
    rng = np.random.default_rng(0)
    topic = np.repeat(rng.random((4000, 1)) < 0.5, 100, axis=0)
    clean = topic * concepts(topic.size, [0.3], rng)
    return float(pearson(noisy(clean, 0.3, rng), noisy(clean, 0.3, rng))[0, 0])


def test_wrong_numbers_are_refused(tmp_path: Path) -> None:
    seen = text(2)
    sim = Similarity.activation(*[write_store(tmp_path / "a.h5", np.ones((seen.n_tokens, BLOCK)), seen)] * 2)
    with pytest.raises(UniversalityError, match=r"expected draws >= 1 and 0 < level < 1, found 0 and 0\.95"):
        bootstrap_intervals(sim, np.array([0]), np.array([0]), draws=0)

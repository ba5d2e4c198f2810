"""Ranks and trustworthiness are known for maps made by hand."""

import math

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from universality import Similarity
from universality.maps.faithfulness import PartnerRanks, Trust


def test_ranks_count_the_features_that_lie_nearer() -> None:
    xy_a, xy_b = np.array([[0.0, 0], [9, 9], [np.nan, np.nan]]), np.array([[3.0, 0], [1, 0], [2, 0], [9, 9]])
    ranks = PartnerRanks.of(xy_a, xy_b, np.array([0, 1, 2]), np.array([0, 3, 1]))
    assert ranks.nearer.tolist() == [[2, 0], [0, 0]]  # the third pair is not on the map
    assert (ranks.n_pairs, ranks.n_others) == (2, (4, 2))
    assert ranks.near(1) == 0.75
    assert ranks.near_by_chance(1) == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert ranks.median_share == 0
    assert ranks.describe()["within_10_by_chance"] == 1


def test_no_pairs_have_no_rank() -> None:
    none = np.zeros(0, np.int64)
    ranks = PartnerRanks.of(np.zeros((1, 2)), np.zeros((1, 2)), none, none)
    assert math.isnan(ranks.near())
    assert ranks.describe()["median_share_nearer"] is None


def test_ranks_of_a_random_map_are_those_of_chance() -> None:
    rng = np.random.default_rng(0)
    ranks = PartnerRanks.of(*rng.uniform(size=(2, 500, 2)), np.arange(500), np.arange(500))
    assert ranks.near() == pytest.approx(ranks.near_by_chance(), abs=0.015)
    assert ranks.median_share == pytest.approx(0.5, abs=0.06)


def test_a_map_that_keeps_all_neighbours_is_trusted_and_a_shuffled_one_is_not() -> None:
    angle = np.sort(np.random.default_rng(0).uniform(0, 1.5, 400))
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    similarity = Similarity.from_factors(circle, circle)
    kept, shuffled = (
        Trust.of(circle, similarity, 5),
        Trust.of(np.random.default_rng(1).permutation(circle), similarity, 5),
    )
    assert kept.value > 0.99
    assert shuffled.value == pytest.approx(0.5, abs=0.1)
    assert Trust.of(circle, similarity, 5, sample=100).n_features == 100


def test_trustworthiness_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(150, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    xy = rows[:, :2] + 0.1 * rng.normal(size=(150, 2))
    found = Trust.of(xy, Similarity.from_factors(rows, rows), 7)
    assert found.value == pytest.approx(trustworthiness(rows, xy, n_neighbors=7, metric="cosine"))
    without = np.where(np.arange(150)[:, None] == 5, np.nan, xy)
    others = np.arange(150) != 5
    expected = trustworthiness(rows[others], xy[others], n_neighbors=7, metric="cosine")
    assert Trust.of(without, Similarity.from_factors(rows, rows), 7).value == pytest.approx(expected)


def test_too_few_features_have_no_trustworthiness() -> None:
    assert math.isnan(Trust.of(np.zeros((4, 2)), Similarity.from_dense(np.eye(4)), 5).value)

"""Edges are pairs of either list, above the thresholds of both features."""

import numpy as np

from universality.maps.cross_edges import listed_edges

LISTS = (
    (np.array([[0, 1], [1, -1], [0, 1]]), np.array([[0.9, 0.3], [0.8, np.nan], [0.5, 0.4]])),
    (np.array([[0, 2], [1, 2]]), np.array([[0.9, 0.5], [0.8, 0.4]])),
)
THRESHOLDS = np.array([0.2, 0.5, np.nan]), np.array([0.4, 0.6])


def test_a_pair_counts_once_and_features_without_a_threshold_have_none() -> None:
    edges = listed_edges(LISTS, THRESHOLDS)
    assert list(zip(edges.rows.tolist(), edges.cols.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 1)]


def test_an_edge_must_exceed_the_null_of_both_features() -> None:
    edges = listed_edges(LISTS, THRESHOLDS).above_null()
    assert list(zip(edges.rows.tolist(), edges.cols.tolist(), strict=True)) == [(0, 0), (1, 1)]
    np.testing.assert_allclose(edges.excess, [(0.9 - 0.4) / 0.6, (0.8 - 0.6) / 0.4])


def test_pairs_are_taken_out_whatever_their_other_edges() -> None:
    edges = listed_edges(LISTS, THRESHOLDS).without(np.array([0, 7]), np.array([0, 9]))
    assert edges.rows.tolist() == [0, 1]
    assert len(edges) == 2


def test_edges_of_chance_get_the_strength_of_those_that_they_stand_for() -> None:
    edges = listed_edges(LISTS, THRESHOLDS)
    like = edges.above_null()
    chosen = edges.strongest(like)
    assert len(chosen) == len(like) == 2
    assert np.sort(chosen.excess).tolist() == np.sort(like.excess).tolist()


def test_a_threshold_of_one_lets_nothing_pass() -> None:
    assert len(listed_edges(LISTS, (np.ones(3), np.ones(2))).above_null()) == 0

"""Edges are pairs of either list, above the thresholds of both features."""

import numpy as np

from universality.maps.cross_edges import listed_edges, lone_features

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


def test_a_feature_that_resembles_one_too_rare_to_tell_is_not_alone() -> None:
    lists = (
        (np.array([[0, 1], [1, -1], [1, 0]]), np.array([[0.9, 0.1], [0.3, np.nan], [0.95, 0.2]])),
        (
            np.array([[0, 2], [2, 1]]),
            np.array([[0.9, 0.2], [0.95, 0.3]]),
        ),
    )
    thresholds = np.array([0.2, 0.5, np.nan]), np.array([0.4, 0.6])
    edges = listed_edges(lists, thresholds).above_null()
    alone = lone_features(lists, thresholds, edges)
    assert alone[0].tolist() == [False, True, False]  # an edge; none; too rare to tell
    assert alone[1].tolist() == [False, False]  # an edge; resembles the third row, which is too rare
    weaker = lists[0], (lists[1][0], np.array([[0.9, 0.2], [0.55, 0.3]]))
    assert lone_features(weaker, thresholds, edges)[1].tolist() == [False, True]

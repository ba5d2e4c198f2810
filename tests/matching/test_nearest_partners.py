"""Best partners in both directions, and those that are each other's."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_array_equal

from universality.matching.nearest_partners import Nearest, mutual_pairs, nearest, nearest_pairs
from universality.similarity import Similarity

SCORES = np.array([[0.9, 0.2, 0.1, 0.0], [0.8, 0.3, 0.1, 0.0], [0.7, 0.1, 0.6, 0.0], [0.0, 0.0, 0.0, 0.0]])
DEAD = np.array([False, False, False, True])


def best() -> Nearest:
    return nearest(Similarity.from_dense(SCORES, DEAD, DEAD))


def test_the_best_of_every_row_and_column_is_found_and_dead_ones_have_none() -> None:
    assert_array_equal(best().best_col, [0, 0, 0, -1])
    assert_array_equal(best().best_col_score, [0.9, 0.8, 0.7, np.nan])
    assert_array_equal(best().best_row, [0, 1, 2, -1])
    assert_array_equal(best().best_row_score, [0.9, 0.3, 0.6, np.nan])
    assert best().collisions == {"rows": 2, "cols": 0}


def test_pairs_with_replacement_and_mutual_ones() -> None:
    rows, cols = nearest_pairs(best())
    assert_array_equal([rows, cols], [[0, 1, 2], [0, 0, 0]])
    assert_array_equal(best().is_row_best(rows, cols), [True, True, True])
    assert_array_equal(best().is_col_best(rows, cols), [True, False, False])
    assert_array_equal(mutual_pairs(best()), [[0], [0]])


def test_of_equal_scores_the_lower_index_wins() -> None:
    equal = nearest(Similarity.from_dense(np.full((3, 4), 0.5)))
    assert_array_equal(equal.best_col, [0, 0, 0])
    assert_array_equal(equal.best_row, [0, 0, 0, 0])

"""The graph is umap-learn's."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.maps.fuzzy_graph import fuzzy_graph, membership
from universality.maps.neighbours import Neighbours, nearest_directions
from universality.maps.point_layout import import_umap


def test_strengths_sum_to_the_logarithm_of_the_number_of_neighbours() -> None:
    distance = np.sort(np.random.default_rng(0).uniform(0.1, 1, (50, 14)), axis=1)
    strength = membership(distance)
    assert_allclose(strength[:, 0], 1)
    assert (np.diff(strength, axis=1) <= 0).all()
    assert_allclose(strength.sum(axis=1), np.log2(15), atol=1e-5)


def test_a_missing_neighbour_has_no_strength_and_duplicates_have_all() -> None:
    strength = membership(np.array([[0.2, 0.5, np.nan], [0, 0, 0]]))
    assert np.isnan(strength[0, 2])
    assert strength[0, 0] == 1
    assert strength[1].tolist() == [1, 1, 1]


def test_a_feature_without_neighbours_has_no_edge() -> None:
    graph = fuzzy_graph(Neighbours(np.array([[1], [0], [-1]]), np.array([[0.5], [0.5], [np.nan]])))
    assert graph.getnnz(axis=1).tolist() == [1, 1, 0]
    assert (graph != graph.T).nnz == 0


@pytest.mark.slow  # the library compiles its own for 4 seconds
def test_the_graph_is_that_of_umap_learn() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    rows[3] = rows[4]  # a pair at distance 0
    found = nearest_directions(rows, 14)
    own = np.arange(200)[:, None]
    index = np.concatenate([own, found.index], axis=1)
    distance = np.concatenate([0 * own, np.maximum(1 - found.similarity, 0)], axis=1).astype(np.float32)
    chance = np.random.RandomState(0)
    theirs = import_umap().fuzzy_simplicial_set(
        rows, 15, chance, "cosine", knn_indices=index, knn_dists=distance, angular=False
    )[0]
    assert_allclose(fuzzy_graph(found).toarray(), theirs.toarray(), atol=2e-4)

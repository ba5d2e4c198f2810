"""Linked nodes lie together, and one seed gives one layout."""

import numpy as np
import pytest
from scipy import sparse

from universality.errors import UniversalityError
from universality.maps.point_layout import lay_out, spectral_start


def two_groups() -> sparse.csr_matrix:
    """Two cliques of 15 nodes with one weak edge between them, and a node without any."""
    graph = np.zeros((31, 31))
    graph[:15, :15] = graph[15:30, 15:30] = 1 - np.eye(15)
    graph[0, 15] = graph[15, 0] = 0.01
    return sparse.csr_matrix(graph)


def test_groups_lie_apart_and_a_node_without_an_edge_is_not_placed() -> None:
    xy = lay_out(two_groups())
    first, second = xy[:15], xy[15:30]
    gap = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
    assert gap > 2 * max(first.std(axis=0).max(), second.std(axis=0).max())
    assert np.isnan(xy[30]).all()


def test_a_seed_decides_every_byte() -> None:
    graph = two_groups()
    assert lay_out(graph, 3, n_epochs=50).tobytes() == lay_out(graph, 3, n_epochs=50).tobytes()
    assert lay_out(graph, 3, n_epochs=50).tobytes() != lay_out(graph, 4, n_epochs=50).tobytes()


def test_the_start_separates_the_groups_along_its_first_axis() -> None:
    start = spectral_start(two_groups()[:30][:, :30])
    assert np.sign(start[:15, 0]).sum() in (-15, 15)
    assert (np.sign(start[:15, 0]) == -np.sign(start[15:, 0])).all()
    assert np.abs(start).max() == pytest.approx(10)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_nodes_are_placed(n: int) -> None:
    graph = sparse.csr_matrix(np.ones((n, n)) - np.eye(n))
    assert np.isnan(lay_out(graph)).sum() == (2 if n == 1 else 0)


def test_a_distance_out_of_range_is_refused() -> None:
    with pytest.raises(UniversalityError, match="min_dist: expected a distance between 0 and 1, found -1"):
        lay_out(two_groups(), min_dist=-1)

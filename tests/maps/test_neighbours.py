"""Neighbours are those of a full matrix of cosines, or nearly all of them where the search is approximate."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from universality import Similarity
from universality.errors import UniversalityError
from universality.maps.neighbours import nearest_directions, nearest_features

DIRECTIONS = np.random.default_rng(0).normal(size=(300, 8))


def cosines(rows: np.ndarray) -> np.ndarray:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    out = unit @ unit.T
    np.fill_diagonal(out, -np.inf)
    return np.asarray(out)


def test_the_exact_search_finds_the_largest_cosines() -> None:
    found = nearest_directions(3 * DIRECTIONS, 5)
    every = cosines(DIRECTIONS)
    assert_array_equal(found.index, np.argsort(-every, axis=1)[:, :5])
    assert_allclose(found.similarity, -np.sort(-every, axis=1)[:, :5], atol=1e-6)


def test_equal_directions_are_neighbours_and_no_feature_is_its_own() -> None:
    found = nearest_directions(np.repeat([[1.0, 0], [0, 1]], 4, axis=0), 3)
    assert (found.index != np.arange(8)[:, None]).all()
    assert_array_equal(np.sort(found.index[0]), [1, 2, 3])


def test_a_direction_of_zeros_has_no_neighbours_and_is_none() -> None:
    rows = DIRECTIONS.copy()
    rows[7] = 0
    found = nearest_directions(rows, 4)
    assert (found.index[7] == -1).all()
    assert np.isnan(found.similarity[7]).all()
    assert 7 not in found.index


def test_more_neighbours_than_features_leave_places_empty() -> None:
    found = nearest_directions([[1.0, 0], [1, 1]], 3)
    assert found.index.tolist() == [[1, -1], [0, -1]]


@pytest.mark.parametrize("wrong", [np.zeros(3), [[1.0, np.nan]]])
def test_what_is_no_finite_matrix_is_refused(wrong: object) -> None:
    with pytest.raises(UniversalityError, match=r"directions: expected finite numbers \[n_features, d\], found shape"):
        nearest_directions(wrong, 2)  # type: ignore[arg-type]


def test_a_similarity_of_two_models_is_refused() -> None:
    with pytest.raises(UniversalityError, match="features with themselves, found 2 rows and 3 columns"):
        nearest_features(Similarity.from_dense(np.ones((2, 3))), 1)


@pytest.mark.slow  # the library compiles for 15 seconds
def test_nearest_neighbour_descent_finds_nearly_all_and_repeats_itself() -> None:
    rows = np.random.default_rng(1).normal(size=(6000, 16))
    rows[5] = 0
    exact, found, again = (nearest_directions(rows, 14, exact=limit) for limit in (10_000, 100, 100))
    same = [np.isin(a, b).mean() for a, b in zip(exact.index, found.index, strict=True) if a[0] >= 0]
    assert np.mean(same) > 0.9
    assert (found.index[5] == -1).all()
    assert 5 not in found.index
    assert found.index.tobytes() == again.index.tobytes()

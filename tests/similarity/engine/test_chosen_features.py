"""Scores of some features only are found under the numbers that these have in their dictionaries."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from universality.matching import match
from universality.similarity import Similarity
from universality.similarity.engine.chosen_features import ChosenFeatures
from universality.similarity.engine.factors import FactorSource

RNG = np.random.default_rng(0)
ROWS, COLS, SHAPE = np.array([1, 4, 5, 9, 10]), np.array([0, 2, 3, 6]), (12, 7)
X, Y = RNG.standard_normal((5, 3)), RNG.standard_normal((4, 3))
X[3] = 0  # dead, though chosen


def factors() -> FactorSource:
    return FactorSource(X, Y, ~X.any(axis=1), ~Y.any(axis=1))


def whole() -> Similarity:
    """The equivalent: factors of the whole dictionaries, with zeros for features that were not chosen."""
    x, y = np.zeros((SHAPE[0], 3)), np.zeros((SHAPE[1], 3))
    x[ROWS], y[COLS] = X, Y
    return Similarity.from_factors(x, y)


def test_it_is_the_matrix_of_the_whole_dictionaries() -> None:
    sim, expected = Similarity(ChosenFeatures(factors(), ROWS, COLS, SHAPE)), whole()
    for one, other in ((sim, expected), (sim.transposed(), expected.transposed())):
        assert one.shape == other.shape
        assert_array_equal(one.dead_rows, other.dead_rows)
        assert_array_equal(one.dead_cols, other.dead_cols)
        assert_allclose(one.dense(), other.dense(), atol=1e-12)
        assert_allclose(one.block([6, 1, 1]), other.block([6, 1, 1]), atol=1e-12)
        for k in (1, 3, 6):  # more than there are columns, too
            for axis in (0, 1):
                found, wanted = one.topk(k, axis), other.topk(k, axis)
                assert_array_equal(found[0], wanted[0])
                assert_allclose(found[1], wanted[1], atol=1e-12)
    i, j = np.indices(SHAPE).reshape(2, -1)
    assert_allclose(sim.pairs(i, j), expected.pairs(i, j), atol=1e-12)


def test_matchings_are_of_the_chosen_features() -> None:
    sim, expected = Similarity(ChosenFeatures(factors(), ROWS, COLS, SHAPE)), whole()
    for method in ("hungarian", "mutual", "nearest"):
        found, wanted = match(sim, method), match(expected, method)
        assert_array_equal(found.rows, wanted.rows)
        assert_array_equal(found.cols, wanted.cols)
        assert found.rows.size
        assert set(found.rows) <= set(ROWS) - {9}
        assert_array_equal(found.unmatched_rows, wanted.unmatched_rows)

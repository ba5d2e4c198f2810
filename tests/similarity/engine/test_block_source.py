"""Lists of best partners start empty and lose dead features; blocks fit their bytes."""

import numpy as np
from numpy.testing import assert_array_equal

from universality.similarity.engine.block_source import Best, rows_within


def test_lists_start_empty_and_dead_ones_are_emptied() -> None:
    best = Best.empty(2, 3, np.float32)
    assert best.key.dtype == np.float32
    best.partner[:], best.key[:], best.score[:] = 7, 0.5, 0.5
    best.without(np.array([False, True]))
    assert_array_equal(best.partner, [[7] * 3, [-1] * 3])
    assert_array_equal(best.key[1], -np.inf)
    assert_array_equal(best.score[1], np.nan)


def test_a_block_fits_its_bytes_or_has_one_row() -> None:
    assert rows_within(8000, 100) == 10
    assert rows_within(10, 100) == rows_within(10, 0) == 1

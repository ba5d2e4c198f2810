"""Indices are spread evenly, and sizes are cut into runs that respect the limit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from universality.arrays import evenly_spaced, runs_within


def test_runs_cover_all_items_and_respect_the_limit() -> None:
    sizes = np.array([5, 0, 3, 9, 1, 1])
    assert list(runs_within(sizes, 5)) == [(0, 2), (2, 3), (3, 4), (4, 6)]
    assert list(runs_within(sizes, 100)) == [(0, 6)]
    assert list(runs_within(np.zeros(0, np.int64), 5)) == []


@given(sizes=st.lists(st.integers(0, 20), max_size=30), limit=st.integers(0, 40))
def test_runs_are_as_long_as_the_limit_allows(sizes: list[int], limit: int) -> None:
    runs = list(runs_within(np.array(sizes, np.int64), limit))
    assert [item for start, stop in runs for item in range(start, stop)] == list(range(len(sizes)))
    for start, stop in runs:
        assert sum(sizes[start:stop]) <= limit or stop == start + 1
        assert stop == len(sizes) or sum(sizes[start : stop + 1]) > limit


def test_indices_are_spread_from_end_to_end() -> None:
    assert_array_equal(evenly_spaced(101, 5), [0, 25, 50, 75, 100])
    assert_array_equal(evenly_spaced(3, 10), [0, 1, 2])
    assert evenly_spaced(0, 4).size == 0 or evenly_spaced(0, 4).tolist() == [0]

"""Halves, classes and groups of token types hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from universality.arrays import FloatArray
from universality.statistics.token_types import N_GROUPS, PER_CLASS, TokenTypes, exchanged

RNG = np.random.default_rng(0)
N = 1501


@pytest.fixture
def types() -> TokenTypes:
    """Three scripts; occurrences fall as Zipf's law, the same in two models."""
    order = RNG.permutation(N)
    script = RNG.choice(3, N, p=[0.7, 0.25, 0.05])
    return TokenTypes(script, 2 * np.log1p(50_000 // (1 + order)).astype(np.float64), "")


def spread(values: FloatArray, code: np.ndarray) -> FloatArray:
    return np.array([np.ptp(values[code == c]) for c in range(code.max() + 1)])


def test_halves_are_alike_in_script_and_frequency(types: TokenTypes) -> None:
    choose, report = types.halves(np.random.default_rng(1))
    assert_array_equal(np.sort(np.concatenate([choose, report])), np.arange(N))
    counts = [np.bincount(types.script[half], minlength=3) for half in (choose, report)]
    assert np.abs(counts[0] - counts[1]).max() <= 1
    for script in range(3):
        of_half = [np.sort(types.frequency[half[types.script[half] == script]])[::-1] for half in (choose, report)]
        n = min(side.size for side in of_half)
        # the k-th of each half come from the k-th pair of neighbours
        paired = np.maximum(of_half[0][:n], of_half[1][:n])[1:] <= np.minimum(of_half[0][:n], of_half[1][:n])[:-1]
        assert paired.all()
    assert (types.halves(np.random.default_rng(2))[0].size, N - choose.size) != (0, 0)
    assert not np.array_equal(types.halves(np.random.default_rng(2))[0][:100], choose[:100])


def test_classes_are_of_one_script_and_narrow(types: TokenTypes) -> None:
    some = types.halves(np.random.default_rng(1))[0]
    code = types.classes(some, np.random.default_rng(3))
    size = np.bincount(code)
    assert size.min() >= 2
    assert size.max() <= PER_CLASS + 1
    assert (spread(types.script[some].astype(float), code) == 0).all()
    width = spread(types.frequency[some], code)
    assert (width[size > 3] <= 2 * np.log(2) + 1e-9).all()
    assert np.median(size) == PER_CLASS
    # neighbours in frequency: what lies between classes of a script does not overlap
    for script in range(3):
        inside = types.script[some] == script
        low = [types.frequency[some][inside & (code == c)].min() for c in np.unique(code[inside])]
        high = [types.frequency[some][inside & (code == c)].max() for c in np.unique(code[inside])]
        assert (np.array(low[:-1]) >= np.array(high[1:])).all()


def test_groups_are_samples_of_all_frequencies(types: TokenTypes) -> None:
    some = types.halves(np.random.default_rng(1))[1]
    group = types.groups(some, np.random.default_rng(4))
    size = np.bincount(group)
    assert size.size == N_GROUPS
    assert np.ptp(size) <= 1
    means = np.array([types.frequency[some][group == g].mean() for g in range(N_GROUPS)])
    unstratified = types.frequency[some].std() / np.sqrt(size.mean())
    assert means.std() < 0.7 * unstratified  # random groups would give about 1


def test_exchanges_stay_in_their_class_and_leave_nothing_in_place() -> None:
    code = RNG.integers(20, size=300)
    code[:2] = 20, 21  # alone in their classes
    draws = [exchanged(code, np.random.default_rng(seed)) for seed in range(50)]
    for partner in draws:
        assert_array_equal(np.sort(partner), np.arange(300))
        assert_array_equal(code[partner], code)
        assert_array_equal(np.flatnonzero(partner == np.arange(300)), [0, 1])
    here = np.flatnonzero(code == 5)
    reached = np.unique([partner[here[0]] for partner in draws])
    assert set(reached) == set(here[1:])

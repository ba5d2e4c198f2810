"""Two matches that name the same partners are told from two that do not, and chance is what simulation gives."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.errors import MismatchError
from universality.matching import match
from universality.similarity import Similarity
from universality.statistics.coinciding import coincidence

N = 256
FIRINGS = np.random.default_rng(1).permutation(np.geomspace(20, 20_000, N).astype(np.int64))


def named(partner: np.ndarray) -> object:
    """A match in which row i has the partner ``partner[i]``, without one where it is -1."""
    scores = np.zeros((N, N))
    scores[np.flatnonzero(partner >= 0), partner[partner >= 0]] = 1
    return match(Similarity.from_dense(scores), floor=0.5)


def test_the_planted_share_is_counted_among_features_with_both_partners() -> None:
    partner = np.random.default_rng(0).permutation(N)
    other = partner.copy()
    other[:64] = np.roll(partner[:64], 1)
    first = partner.copy()
    first[-16:] = -1
    found = coincidence(named(first), named(other), FIRINGS)
    assert (found.n, found.n_same) == (N - 16, N - 16 - 64)
    assert found.share == pytest.approx(found.n_same / found.n)
    assert found.low < found.share < found.high
    assert found.by_chance == pytest.approx(1 / N)
    assert found.low > 20 * found.by_firings > 20 * found.by_chance


def test_expected_shares_are_those_of_random_partners() -> None:
    rng = np.random.default_rng(2)
    partner = rng.permutation(N)
    rank = np.argsort(np.argsort(FIRINGS))
    alike = [(rank // 32 == r // 32).nonzero()[0] for r in rank[partner]]  # eight classes of 32
    found = coincidence(named(partner), named(rng.permutation(N)), FIRINGS)
    drawn = np.mean([[rng.choice(alike[i]) == partner[i] for i in range(N)] for _ in range(40)])
    assert_allclose(found.by_firings, 1 / 32, rtol=0.02)
    assert_allclose(found.by_firings, drawn, atol=0.01)
    assert found.n_same <= 5  # a control: unrelated partners coincide as often as chance, about once
    assert found.low <= found.by_chance <= found.high


def test_nothing_in_both_is_unknown() -> None:
    nobody = named(np.full(N, -1))
    found = coincidence(nobody, named(np.arange(N)), FIRINGS)
    assert found.n == 0
    assert np.isnan([found.share, found.low, found.high, found.by_chance, found.by_firings]).all()


def test_matches_of_other_features_are_refused() -> None:
    small = match(Similarity.from_dense(np.eye(3)))
    with pytest.raises(MismatchError, match="found matches of 3 x 3 and 256 x 256 features, and 256 counts"):
        coincidence(small, named(np.arange(N)), FIRINGS)
    with pytest.raises(MismatchError, match="and 3 counts"):
        coincidence(named(np.arange(N)), named(np.arange(N)), FIRINGS[:3])

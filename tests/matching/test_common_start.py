"""Dictionaries that began from the same weights agree index by index; others do only by chance."""

import warnings
from math import factorial
from pathlib import Path

import numpy as np
import pytest
from planted import text, write_store

from universality.errors import CommonStartWarning, MismatchError
from universality.features import Dictionary, FeatureStore
from universality.matching import index_agreement, match
from universality.matching.common_start import LEAST_AT_SAME_INDEX
from universality.similarity import Similarity

RNG = np.random.default_rng(0)
FIRST, OTHER = RNG.standard_normal((2, 256, 48))
SEEN = text(3)


def test_dictionaries_that_began_alike_agree_index_by_index_and_others_do_not() -> None:
    learnt = FIRST + 2 * RNG.standard_normal(FIRST.shape)  # what training leaves of a common beginning
    found = index_agreement(FIRST, learnt)
    assert found.began_alike
    assert found.same_index > 0.3
    assert abs(found.other_index) < 0.1
    assert not index_agreement(FIRST, OTHER).began_alike
    assert not index_agreement(FIRST + 3, OTHER + 3).began_alike  # all rows alike: their order still says nothing
    assert not index_agreement(FIRST[:1], FIRST[:1]).began_alike  # of one feature nothing can be said


def test_the_same_features_in_another_order_did_not_begin_alike() -> None:
    """The control: what two that began apart may both learn has nearest rows of cosine 1, at other indices."""
    found = index_agreement(FIRST, FIRST[RNG.permutation(256)])
    assert found.median_nearest == pytest.approx(1)
    assert not found.began_alike
    assert found.at_same_index < LEAST_AT_SAME_INDEX


def test_features_that_kept_their_index_are_counted() -> None:
    """Planted: 40 of 256 rows are equal at their index, the others are unrelated; both medians are by hand."""
    learnt = OTHER.copy()
    learnt[:40] = FIRST[:40]
    found = index_agreement(FIRST, learnt)
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (FIRST, learnt))
    cosines = x @ y.T
    assert found.at_same_index == (cosines.argmax(axis=1) == np.arange(256)).sum()
    assert 40 <= found.at_same_index <= 46
    assert found.share == pytest.approx(found.at_same_index / 256)
    assert found.median_same == pytest.approx(np.median(np.diag(cosines)))
    assert found.median_nearest == pytest.approx(np.median(cosines.max(axis=1)))
    assert abs(found.median_other) < 0.05
    assert f"for {found.at_same_index} of 256 features, where 1 is expected" in str(found)


def test_the_bound_on_chance_holds_for_random_orders() -> None:
    """P(at least k at the same index) <= 1 / k!, whatever the nearest rows are."""
    few = np.repeat(np.eye(8), 8, axis=0) + 0.01 * RNG.standard_normal((64, 8))  # rows that share nearest rows
    for rows in (few, RNG.standard_normal((64, 32))):
        counts = np.array([index_agreement(rows, rows[RNG.permutation(64)]).at_same_index for _ in range(1500)])
        assert counts.mean() == pytest.approx(1, abs=0.15)
        for k in (2, 3, 4):
            assert (counts >= k).mean() <= 1 / factorial(k) + 0.03
    assert index_agreement(FIRST, FIRST).largest_p == pytest.approx(1 / factorial(170))


def test_the_deviation_is_that_of_shuffled_rows() -> None:
    a, b = RNG.standard_normal((2, 40, 16))
    found = index_agreement(a, b)
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (a, b))
    shuffled = np.array([(x * y[RNG.permutation(40)]).sum(axis=1).mean() for _ in range(4000)])
    assert shuffled.mean() == pytest.approx(found.other_index, abs=0.002)
    assert shuffled.std() == pytest.approx((found.same_index - found.other_index) / found.z, rel=0.05)


def test_of_wide_dictionaries_evenly_spaced_features_are_compared() -> None:
    a = RNG.standard_normal((9000, 8))
    found = index_agreement(a, a)
    assert (found.n, found.at_same_index) == (3000, 3000)
    assert found.same_index == pytest.approx(1)


def test_rows_of_zeros_are_left_out_and_other_shapes_refused() -> None:
    a = FIRST.copy()
    a[3] = 0
    assert index_agreement(a, FIRST).n == 255
    assert index_agreement(0 * a, FIRST).n == 0
    assert not index_agreement(0 * a, FIRST).began_alike
    with pytest.raises(MismatchError, match=r"two decoders .* found \[256, 48\] and \[256, 40\]"):
        index_agreement(FIRST, FIRST[:, :40])


def store(path: Path, decoder: np.ndarray | None) -> FeatureStore:
    fires = np.random.default_rng(len(path.name)).random((SEEN.n_tokens, 256)) < 0.1
    return write_store(path, fires, SEEN, dictionary=None if decoder is None else Dictionary(decoder))


def test_match_warns_where_the_dictionaries_began_alike(tmp_path: Path) -> None:
    a, b = store(tmp_path / "a.h5", FIRST), store(tmp_path / "bb.h5", FIRST + 0.5 * OTHER)
    for sim in (Similarity.activation(a, b), Similarity.decoder(a, b, force=True)):
        with pytest.warns(
            CommonStartWarning, match=r"dictionaries of a\.h5 and bb\.h5 agree index by index.* for 256 of"
        ):
            match(sim, "nearest")


@pytest.mark.parametrize(
    "decoder", [OTHER, FIRST[::-1], FIRST[:, :40], None], ids=["other", "other order", "other model", "unknown"]
)
def test_match_is_silent_otherwise(tmp_path: Path, decoder: np.ndarray | None) -> None:
    a, b = store(tmp_path / "a.h5", FIRST), store(tmp_path / "bb.h5", decoder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        match(Similarity.activation(a, b), "nearest")
        match(Similarity.activation(a, a), "nearest")
        rows = np.arange(SEEN.n_tokens)
        match(Similarity.activation(a, b, rows=(rows, rows[::-1])), "nearest")


def test_neurons_of_two_models_are_no_common_start(tmp_path: Path) -> None:
    a, b = store(tmp_path / "a.h5", np.eye(256)), store(tmp_path / "bb.h5", np.eye(256))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        match(Similarity.activation(a, b), "nearest")

"""The tokens that hold most of a feature's activation, however its column is read."""

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from universality.features.storage.selected import read_features
from universality.features.storage.store import FeatureStore
from universality.features.top_tokens import LEAST, heaviest_tokens, token_strings, top_tokens

N_TOKENS, N_FEATURES, N_TYPES = 2000, 60, 12


def dense() -> tuple[np.ndarray, np.ndarray]:
    """Activations, of which feature 5 is dead and 6 negative, and tokens."""
    rng = np.random.default_rng(0)
    shape = (N_TOKENS, N_FEATURES)
    x = np.where(rng.random(shape) < 0.1, rng.random(shape), 0).astype(np.float32)
    x[:, 5] = 0
    x[:, 6] = -1
    return x, rng.integers(0, N_TYPES, N_TOKENS)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    x, token = dense()
    place = np.arange(N_TOKENS)
    writer = FeatureStore.create(tmp_path / "a.h5", N_FEATURES, {})
    writer.append(
        sparse.csr_matrix(x),
        token=token,
        document=place // 10,
        position=place % 10 + 1,
        kind=np.full(N_TOKENS, "k"),
    )
    return writer.finish()


@pytest.mark.parametrize("values", [1, 700, 10**6])
@pytest.mark.parametrize("wanted", [[3], range(N_FEATURES), [59, 0, 0, 5, 6, 7], []])
def test_equals_the_mass_of_every_token_in_the_whole_table(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, values: int, wanted: list[int]
) -> None:
    monkeypatch.setattr(sys.modules[read_features.__module__], "_SPAN_VALUES", values)
    x, token = dense()
    found = top_tokens(store, wanted, 4)
    assert len(found) == len(wanted)
    for feature, ids in zip(wanted, found, strict=True):
        column = np.maximum(x[:, feature], 0).astype(np.float64)
        cut = max(1, round(0.01 * (column > 0).sum()))
        column = np.minimum(column, np.sort(column)[-1 - cut])
        mass = np.array([column[token == t].sum() for t in range(N_TYPES)])
        assert_array_equal(ids, np.argsort(-mass, kind="stable")[: min(4, (mass > 0).sum())])


def test_distinct_tokens_are_all_there_for_a_large_k(store: FeatureStore) -> None:
    assert sorted(top_tokens(store, [0], 100)[0]) == list(range(N_TYPES))


UNITED, STATES, RARE = 7, 8, 200_000


def fired(*parts: tuple[int, int, float]) -> tuple[np.ndarray, np.ndarray]:
    """Firings of one feature: of each part a token, how often, and how strongly."""
    token = np.concatenate([np.full(n, t, np.int32) for t, n, _ in parts])
    return token, np.concatenate([np.full(n, value, np.float32) for _, n, value in parts])


def test_a_feature_of_one_token_shows_that_token_alone() -> None:
    few = [(token, 1, 1.0) for token in (20, 21, 22)]  # 0.3% of the mass
    assert heaviest_tokens(*fired((UNITED, 997, 1.0), *few), 8).tolist() == [UNITED]
    stronger = [(token, 1, 5.0) for token in (20, 21, 22)]  # each above every firing on UNITED
    assert heaviest_tokens(*fired((UNITED, 997, 1.0), *stronger), 8).tolist() == [UNITED]


def test_mass_decides_and_not_the_largest_activation() -> None:
    token, values = fired((UNITED, 300, 1.0), (STATES, 30, 3.0), (RARE, 6, 9.0))
    assert heaviest_tokens(token, values, 3).tolist() == [UNITED, STATES, RARE]
    assert token[values.argmax()] == RARE, "the control: by largest activation the order is the reverse"


@pytest.mark.parametrize("n", [5, 60, 3000])
def test_one_outlier_decides_nothing(n: int) -> None:
    token, values = fired((UNITED, n, 1.0), (STATES, n - 1, 1.0), (RARE, 1, 1e6))
    assert heaviest_tokens(token, values, 2).tolist() == [UNITED, STATES]
    assert values[-1] > values[:-1].sum(), "the control: untrimmed, the outlier has most of the mass"


def test_a_token_below_the_least_share_of_the_heaviest_is_left_out() -> None:
    for n, shown in ((int(1000 * LEAST) - 1, [UNITED]), (int(1000 * LEAST), [UNITED, STATES])):
        assert heaviest_tokens(*fired((UNITED, 1000, 1.0), (STATES, n, 1.0)), 8).tolist() == shown


def test_a_feature_that_fires_once_shows_its_token() -> None:
    assert heaviest_tokens(*fired((RARE, 1, 2.0)), 8).tolist() == [RARE]
    assert heaviest_tokens(*fired((RARE, 1, -2.0)), 8).tolist() == []


def test_strings(store: FeatureStore) -> None:
    (ids,) = top_tokens(store, [0], 3)
    assert token_strings(store, [0, 5], 3) == [tuple(str(i) for i in ids), ()]
    assert token_strings(store, [0], 3, lambda some: [f"<{i}>" for i in some]) == [tuple(f"<{i}>" for i in ids)]
    with pytest.raises(ValueError, match="decode returned 1 strings for 3 token ids"):
        token_strings(store, [0], 3, lambda _: ["joined"])


def test_k_below_one_is_refused(store: FeatureStore) -> None:
    with pytest.raises(ValueError, match="expected k >= 1, found 0"):
        top_tokens(store, [0], 0)

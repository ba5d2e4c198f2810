"""The tokens a feature is most active on, however its column is read."""

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from universality.features.store import FeatureStore
from universality.features.top_tokens import token_strings, top_tokens

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
def test_equals_the_largest_activation_of_every_token(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, values: int, wanted: list[int]
) -> None:
    monkeypatch.setattr(sys.modules[top_tokens.__module__], "_SPAN_VALUES", values)
    x, token = dense()
    found = top_tokens(store, wanted, 4)
    assert len(found) == len(wanted)
    for feature, ids in zip(wanted, found, strict=True):
        largest = np.array([x[token == t, feature].max() for t in range(N_TYPES)])
        assert_array_equal(ids, np.argsort(-largest)[: min(4, (largest > 0).sum())])


def test_distinct_tokens_are_all_there_for_a_large_k(store: FeatureStore) -> None:
    assert sorted(top_tokens(store, [0], 100)[0]) == list(range(N_TYPES))


def test_strings(store: FeatureStore) -> None:
    (ids,) = top_tokens(store, [0], 3)
    assert token_strings(store, [0, 5], 3) == [tuple(str(i) for i in ids), ()]
    assert token_strings(store, [0], 3, lambda some: [f"<{i}>" for i in some]) == [tuple(f"<{i}>" for i in ids)]
    with pytest.raises(ValueError, match="decode returned 1 strings for 3 token ids"):
        token_strings(store, [0], 3, lambda _: ["joined"])


def test_k_below_one_is_refused(store: FeatureStore) -> None:
    with pytest.raises(ValueError, match="expected k >= 1, found 0"):
        top_tokens(store, [0], 0)

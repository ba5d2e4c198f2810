"""Descriptions hold what top tokens and specificity find alone, and are measured once."""

from pathlib import Path

import pytest
from feature_rows import activations, write
from numpy.testing import assert_array_equal

from universality.features.descriptions import MOST_TOKENS, Described, described
from universality.features.specificity import specificity
from universality.features.storage.store import FeatureStore
from universality.features.top_tokens import token_strings, top_tokens


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return write(tmp_path_factory.mktemp("described") / "a.h5", activations(200))


def test_they_are_the_top_tokens_and_the_kinds(store: FeatureStore) -> None:
    measured = Described.measure(store)
    for feature, tokens in enumerate(top_tokens(store, range(12), MOST_TOKENS)):
        assert_array_equal(measured.tokens[feature, : len(tokens)], tokens)
        assert_array_equal(measured.tokens[feature, len(tokens) :], -1)
    alone = specificity(store)
    assert_array_equal(measured.specificity.mass, alone.mass)
    assert_array_equal(measured.specificity.firings, alone.firings)


@pytest.mark.parametrize("k", [1, MOST_TOKENS, MOST_TOKENS + 5])
def test_strings_of_as_many_tokens_as_wanted(store: FeatureStore, k: int) -> None:
    def decode(ids: object) -> list[str]:
        return [f"<{i}>" for i in ids]  # type: ignore[attr-defined]

    measured = Described.measure(store)
    for reader in (None, decode):
        assert measured.strings([4, 3, 4], k, reader) == token_strings(store, [4, 3, 4], k, reader)


def test_what_is_described_is_not_measured_again(store: FeatureStore, tmp_path: Path) -> None:
    measured = described(store)
    assert described(measured) is measured

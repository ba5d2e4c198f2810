"""Every two of several stores are compared as they are alone, by every measure over tokens."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from planted import concepts, text, write_store

from universality.errors import MismatchError, UniversalityError
from universality.features import Dictionary, FeatureStore
from universality.models.unembedding import Unembedding
from universality.similarity import TOKEN_MEASURES, Similarity, all_pairs

SEEN = text(4)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FeatureStore]:
    """Models that leave out different entries of the vocabulary."""
    rng, made = np.random.default_rng(0), {}
    for k, name in enumerate("ABC"):
        folder = tmp_path_factory.mktemp(name)
        x = concepts(SEEN.n_tokens, np.full(5 + k, 0.2), rng)
        weights = rng.standard_normal((5 + k, 3))
        mask = np.arange(50) != 8 + k
        made[name] = write_store(
            folder / f"{name}.h5", x, SEEN,
            dictionary=Dictionary(weights, residual=weights),
            unembedding=Unembedding(rng.standard_normal((3, 50)), np.ones(3), mask, True),
        )  # fmt: skip
    return made


@pytest.mark.parametrize("measure", TOKEN_MEASURES)
@pytest.mark.parametrize("documents", [None, [0, 2]])
def test_pairs_are_what_they_are_alone(
    stores: dict[str, FeatureStore], measure: str, documents: list[int] | None, tmp_path: Path
) -> None:
    if measure == "effect":
        rng = np.random.default_rng(1)
        provenance = {"quantity": "effect"}
        stores = {
            name: write_store(tmp_path / f"{name}.h5", rng.standard_normal((SEEN.n_tokens, 5)), SEEN, provenance)
            for name in stores
        }
    pairs = all_pairs(stores, measure, documents=documents)
    assert list(pairs) == [("A", "B"), ("A", "C"), ("B", "C")]
    for (a, b), sim in pairs.items():
        alone = Similarity.over_tokens(measure, stores[a], stores[b], documents=documents)
        assert sim.provenance == alone.provenance
        assert_allclose(sim.dense(), alone.dense(), atol=1e-12)


def test_effects_among_activations_are_refused(stores: dict[str, FeatureStore], tmp_path: Path) -> None:
    effects = write_store(tmp_path / "e.h5", np.ones((SEEN.n_tokens, 2)), SEEN, {"quantity": "effect"})
    with pytest.raises(
        MismatchError, match="holds values of quantity 'effect', the measure 'phi' compares 'activation'"
    ):
        all_pairs({**stores, "E": effects}, "phi")


def test_one_store_and_unknown_measures_are_refused(stores: dict[str, FeatureStore]) -> None:
    with pytest.raises(UniversalityError, match="all_pairs: expected at least two stores, found 1"):
        all_pairs({"A": stores["A"]})
    with pytest.raises(UniversalityError, match="unknown measure 'r'; choose one of activation, cosine, phi, jaccard"):
        all_pairs(stores, "r")

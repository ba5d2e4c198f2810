"""Masked cosine and coverage against loops over pairs in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import Array, concepts, dense, text, write_store

from universality.errors import UniversalityError
from universality.features import FeatureStore
from universality.similarity import Similarity

SEEN = text(12)


@pytest.fixture(scope="module", params=[0.06, 0.5], ids=["sparse", "dense"])
def stores(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[FeatureStore, FeatureStore]:
    """A with ten features; B with A's features split in two by the strength of the firing, and a dead one."""
    rng = np.random.default_rng(3)
    folder = tmp_path_factory.mktemp("masked")
    x = concepts(SEEN.n_tokens, np.full(10, request.param), rng)
    strong = x > 1
    y = np.hstack([x * strong, x * ~strong, np.zeros((SEEN.n_tokens, 1))])
    return write_store(folder / "a.h5", x, SEEN), write_store(folder / "b.h5", y, SEEN)


def cosine(x: Array, y: Array) -> float:
    norm = np.linalg.norm(x) * np.linalg.norm(y)
    return float(x @ y / norm) if norm > 0 else 0.0


def expected(a: Array, b: Array) -> Array:
    return np.array([[max(cosine(x[x > 0], y[x > 0]), cosine(x[y > 0], y[y > 0])) for y in b.T] for x in a.T])


@pytest.mark.parametrize("memory_budget", [1 << 30, 1000])
def test_equals_the_definition(stores: tuple[FeatureStore, FeatureStore], memory_budget: int) -> None:
    a, b = stores
    sim = Similarity.masked_cosine(a, b, memory_budget=memory_budget)
    assert_allclose(sim.dense(1 << 30), expected(dense(a), dense(b)), atol=1e-12)
    rows = np.isin(SEEN.document, [0, 5])
    assert_allclose(sim.restrict([0, 5]).dense(1 << 30), expected(dense(a)[rows], dense(b)[rows]), atol=1e-12)


def test_a_part_of_a_feature_has_masked_cosine_1_where_pearson_has_not(
    stores: tuple[FeatureStore, FeatureStore],
) -> None:
    i = np.arange(10)
    for shift in (0, 10):
        assert_allclose(Similarity.masked_cosine(*stores).pairs(i, i + shift), 1, atol=1e-12)
        assert Similarity.activation(*stores).pairs(i, i + shift).max() < 0.99


def test_coverage_counts_joint_firings(stores: tuple[FeatureStore, FeatureStore]) -> None:
    a, b = stores
    fires_a, fires_b = dense(a) > 0, dense(b) > 0
    both = fires_a.T.astype(float) @ fires_b
    i, j = np.array([0, 3, 9]), np.array([0, 20, 19])
    for of, count in (("tokens", 1), ("rows", fires_a.sum(0)[:, None]), ("cols", np.maximum(1, fires_b.sum(0)))):
        sim = Similarity.coverage(a, b, of=of)
        assert_allclose(sim.dense(), both / count, rtol=1e-15)
        assert_allclose(sim.pairs(i, j), (both / count)[i, j], rtol=1e-15)
        assert sim.name == "coverage"


def test_silent_features_are_dead(stores: tuple[FeatureStore, FeatureStore]) -> None:
    sim = Similarity.masked_cosine(*stores)
    assert_array_equal(np.flatnonzero(sim.dead_cols), [20])
    assert not sim.dead_rows.any()
    assert_array_equal(sim.topk(21)[0][:, 20], -1)


def test_negative_activations_are_refused(tmp_path: Path) -> None:
    x = np.ones((SEEN.n_tokens, 3))
    a = write_store(tmp_path / "a.h5", x, SEEN)
    x[5, 1] = -0.25
    b = write_store(tmp_path / "b.h5", x, SEEN)
    for measure in (Similarity.masked_cosine, Similarity.coverage):
        with pytest.raises(UniversalityError, match=r"b\.h5: feature 1 reaches -0\.25.*never negative"):
            measure(a, b).dense()
    Similarity.activation(a, b).dense()


def test_unknown_coverage_is_refused(stores: tuple[FeatureStore, FeatureStore]) -> None:
    with pytest.raises(UniversalityError, match="coverage of 'both': expected 'tokens', 'rows' or 'cols'"):
        Similarity.coverage(*stores, of="both")  # type: ignore[arg-type]


def test_no_statistics_by_group(stores: tuple[FeatureStore, FeatureStore]) -> None:
    with pytest.raises(UniversalityError, match="masked_cosine similarity keeps no statistics by group"):
        Similarity.masked_cosine(*stores).pairs([0], [0], by="group")

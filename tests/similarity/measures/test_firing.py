"""Cosine, phi and Jaccard against their definitions on dense arrays, by the dense and by the listed way."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose
from planted import Planted, dense, pearson, planted, text, write_store

from universality.errors import FormatError, MismatchError, UniversalityError
from universality.features import FeatureStore
from universality.similarity import Similarity
from universality.similarity.engine import comoments

SEEN = text(24)
TINY = 7000  # bytes: neither the stores nor 37 x 37 scores fit


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return planted(tmp_path_factory.mktemp("plant"), SEEN, n_shared=24, n_alone=13)


def cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x.T @ y / np.outer(np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0))


def phi(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return pearson((x != 0).astype(float), (y != 0).astype(float))


def jaccard(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = x != 0, y != 0
    return (x[:, :, None] & y[:, None]).sum(axis=0) / (x[:, :, None] | y[:, None]).sum(axis=0)


MEASURES = {
    "cosine": (Similarity.activation, cosine),
    "phi": (Similarity.firing, phi),
    "jaccard": (Similarity.firing, jaccard),
}


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("way", ["blocks", "streamed", "listed", "dense"])
def test_equals_the_definition(plant: Planted, measure: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "listed":
        monkeypatch.setattr(comoments, "LISTED_ABOVE", 0)
    if way == "dense":
        monkeypatch.setattr(comoments, "DENSE_SHARE", -1.0)
    make, definition = MEASURES[measure]
    budget = TINY if way == "streamed" else 1 << 30
    sim = make(plant.a, plant.b, measure=measure, memory_budget=budget)  # type: ignore[operator]
    expected = definition(dense(plant.a), dense(plant.b))
    assert sim.name == measure == sim.provenance["measure"]
    assert_allclose(sim.dense(1 << 30), expected, atol=1e-9)
    assert_allclose(sim.pairs([0, 30, 7], [5, 5, 36]), expected[[0, 30, 7], [5, 5, 36]], atol=1e-9)
    assert_allclose(np.sort(sim.topk(3)[1]), np.sort(expected, axis=1)[:, -3:], atol=1e-9)
    part = np.isin(SEEN.document, [1, 4, 5, 17, 20])
    parts = [dense(s)[part] for s in (plant.a, plant.b)]
    with np.errstate(invalid="ignore"):
        few = np.nan_to_num(definition(*parts))
    assert_allclose(sim.restrict([1, 4, 5, 17, 20]).dense(1 << 30), few, atol=1e-9)


def test_phi_has_statistics_by_group_and_jaccard_none(plant: Planted) -> None:
    moments = Similarity.firing(plant.a, plant.b).pairs([3], [4], by="group")
    assert_allclose(moments.pearson(), phi(dense(plant.a), dense(plant.b))[3, 4], atol=1e-9)
    with pytest.raises(UniversalityError, match="jaccard similarity keeps no statistics by group; activation, attri"):
        Similarity.firing(plant.a, plant.b, measure="jaccard").pairs([3], [4], by="group")


def test_unknown_measures_are_refused(plant: Planted) -> None:
    with pytest.raises(UniversalityError, match="unknown measure 'dice'; choose one of phi, jaccard"):
        Similarity.firing(plant.a, plant.b, measure="dice")  # type: ignore[arg-type]


def test_other_tokenizers_are_refused(tmp_path: Path) -> None:
    x = np.ones((SEEN.n_tokens, 2))
    a, b = (write_store(tmp_path / f"{n}.h5", x, SEEN, {"tokenizer_hash": n * 20}) for n in "ab")
    with pytest.raises(MismatchError, match=r"b\.h5: tokenizer bbbbbbbbbbbb, but .*a\.h5 has aaaaaaaaaaaa; equal"):
        Similarity.activation(a, b)


def test_activations_that_are_not_finite_are_refused(plant: Planted, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(plant.a.path.read_bytes())
    with h5py.File(path, "r+") as file:
        data = file["by_token/data"][:]
        data[5] = np.nan
        file["by_token/data"][:] = data
        feature = file["by_token/indices"][5]
    with pytest.raises(FormatError, match=rf"a\.h5: feature {feature} holds activations that are not finite; expected"):
        Similarity.activation(FeatureStore.open(path), plant.b).dense()

"""Best partners on a torch device equal those of the CPU's own way; here the device is torch's CPU."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import Planted, planted, text

from universality.errors import UniversalityError
from universality.matching import match
from universality.similarity import Similarity
from universality.similarity.engine import device_blocks as device

SEEN = text(24)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return planted(tmp_path_factory.mktemp("plant"), SEEN, n_shared=24, n_alone=13)


def sims(plant: Planted) -> dict[str, Similarity]:
    rng = np.random.default_rng(0)
    return {
        "pearson": Similarity.activation(plant.a, plant.b),
        "cosine": Similarity.activation(plant.a, plant.b, measure="cosine"),
        "phi": Similarity.firing(plant.a, plant.b),
        "factors": Similarity.from_factors(rng.standard_normal((60, 5)), rng.standard_normal((45, 5))),
    }


@pytest.mark.parametrize("name", ["pearson", "cosine", "phi", "factors"])
@pytest.mark.parametrize("where", DEVICES)
def test_equals_the_cpu(plant: Planted, name: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if where == "cuda" and not pytest.importorskip("torch").cuda.is_available():
        pytest.skip("no CUDA device")
    monkeypatch.setattr(device, "STRIPE_BYTES", 8 * 40 * 20)  # several stripes
    monkeypatch.setattr(device, "SPREAD", 2000)
    sim = sims(plant)[name]
    there = sim.on(where)
    assert_allclose(there.dense(), sim.dense(), atol=1e-12)
    for k in (1, 4, 100):
        for found, wanted in zip(there.topk(k, axis=None), sim.topk(k, axis=None), strict=True):
            assert_allclose(found[1], wanted[1], atol=1e-12)
            if name != "cosine":  # cosines of 0 are equal
                assert_array_equal(found[0], wanted[0])
    m = match(there, solver="sparse")
    assert_array_equal(m.cols, match(sim, solver="sparse").cols)
    assert m.gap < 1e-9


def test_what_has_no_way_there_is_refused(plant: Planted) -> None:
    with pytest.raises(UniversalityError, match="jaccard similarity has no way on a device"):
        Similarity.firing(plant.a, plant.b, measure="jaccard").on("cpu")
    with pytest.raises(UniversalityError, match="dense similarity has no way on a device"):
        Similarity.from_dense(np.eye(3)).on("cpu")
    with pytest.raises(UniversalityError, match="both stores must fit into memory; raise memory_budget"):
        Similarity.activation(plant.a, plant.b, memory_budget=1000).on("cpu")

"""Blocks and best partners on a torch device equal those of the CPU's own loops; here the device is torch's CPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import Planted, dense, pearson, planted, text, write_store

torch = pytest.importorskip("torch")

from tests.similarity.limited_memory import LimitedMemory  # noqa: E402
from universality.errors import DeviceWarning, UniversalityError  # noqa: E402
from universality.matching import match  # noqa: E402
from universality.similarity import Similarity  # noqa: E402
from universality.similarity.engine import device_memory, device_sums  # noqa: E402
from universality.similarity.engine.device_blocks import largest  # noqa: E402
from universality.similarity.engine.factors import AbsoluteFactors  # noqa: E402

CPU = torch.device("cpu")
SEEN = text(24)
NO_CARD = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_CARD])]
MEASURES = ["pearson", "cosine", "phi", "factors", "absolute"]


def on(sim: Similarity, device: str = "cpu") -> Similarity:
    """The similarity on a torch device; `Similarity.on` would take torch's CPU for the CPU's own loops."""
    return Similarity(sim._source.on(torch.device(device)))  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return planted(tmp_path_factory.mktemp("plant"), SEEN, n_shared=24, n_alone=13)


@pytest.fixture(scope="module")
def sims(plant: Planted) -> dict[str, Similarity]:
    rng = np.random.default_rng(0)
    factors = Similarity.from_factors(rng.standard_normal((60, 5)), rng.standard_normal((45, 5)))
    source: Any = factors._source
    return {
        "pearson": Similarity.activation(plant.a, plant.b),
        "cosine": Similarity.activation(plant.a, plant.b, measure="cosine"),
        "phi": Similarity.firing(plant.a, plant.b),
        "factors": factors,
        "absolute": Similarity(AbsoluteFactors(source.x, source.y, source.dead_rows, source.dead_cols)),
    }


def same_lists(found: Any, wanted: Any) -> None:
    """Partners are equal, those of equal scores included; scores agree to rounding."""
    for (partner, score), (wanted_partner, wanted_score) in zip(found, wanted, strict=True):
        assert_allclose(score, wanted_score, atol=1e-13)
        assert_array_equal(partner, wanted_partner)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tiles, sums in several calls, and rows that are cut in pieces."""
    monkeypatch.setattr(device_memory, "MOST_PAIRS", 40 * 20)
    monkeypatch.setattr(device_sums, "PIECE", 700)
    monkeypatch.setattr(device_sums, "MIN_TOKENS", 100)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("where", DEVICES)
@pytest.mark.usefixtures("small_tiles")
def test_equals_the_cpu(sims: dict[str, Similarity], name: str, where: str) -> None:
    sim = sims[name]
    there = on(sim, where)
    assert_allclose(there.dense(), sim.dense(), atol=1e-13)
    for k in (1, 4, 100):
        same_lists(there.topk(k, axis=None), sim.topk(k, axis=None))
    same_lists([there.topk(3, axis=0)], [sim.topk(3, axis=0)])
    m = match(there, solver="sparse")
    assert_array_equal(m.cols, match(sim, solver="sparse").cols)
    assert m.gap < 1e-9
    assert m.provenance.get("device", where).startswith(where)


@pytest.mark.parametrize("where", DEVICES)
@pytest.mark.usefixtures("small_tiles")
def test_halves_and_nulls_are_computed_there_too(sims: dict[str, Similarity], where: str) -> None:
    sim, rng = sims["pearson"], np.random.default_rng(1)
    half = sim.restrict(np.arange(0, 24, 2))
    there = on(sim, where).restrict(np.arange(0, 24, 2))
    same_lists(there.topk(2, axis=None), half.topk(2, axis=None))
    rows = rng.integers(0, SEEN.n_tokens, (2, 900))
    null = on(sim, where).repaired(*rows)
    assert null._source.device == torch.device(where)  # type: ignore[attr-defined]
    same_lists(null.topk(2, axis=None), sim.repaired(*rows).topk(2, axis=None))


@pytest.mark.parametrize("where", DEVICES)
@pytest.mark.parametrize("measure", ["pearson", "cosine"])
def test_features_that_fire_everywhere_keep_their_digits(tmp_path: Path, where: str, measure: Any) -> None:
    """Neurons with offsets take the dense route; with a few sparse features beside them, the shifted sparse one."""
    rng = np.random.default_rng(2)
    common = rng.standard_normal((SEEN.n_tokens, 6))
    sides = []
    for _ in range(2):
        neurons = 100 + common + rng.standard_normal(common.shape)
        sparse = (rng.random((SEEN.n_tokens, 150)) < 0.02) * 1.0
        sides.append((neurons, np.hstack([neurons[:, :2], sparse])))
    for which, route in ((0, device_sums.DenseStripes), (1, device_sums.SparseStripes)):
        a, b = (write_store(tmp_path / f"{which}{i}.h5", side[which], SEEN) for i, side in enumerate(sides))
        sim = Similarity.activation(a, b, measure=measure)
        there = on(sim, where)
        assert isinstance(there._source.stripes, route)  # type: ignore[attr-defined]
        assert_allclose(there.dense(), sim.dense(), atol=1e-12)
        if measure == "pearson":
            assert_allclose(there.dense(), pearson(dense(a), dense(b)), atol=1e-10)


@pytest.mark.parametrize("name", MEASURES)
def test_out_of_memory_halves_the_tile_and_changes_nothing(
    sims: dict[str, Similarity], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_sums, "PIECE", 700)
    there = on(sims[name])
    expected = *there.topk(4, axis=None), (there.dense(), 0)
    with LimitedMemory(8 * there.shape[1] * 20) as memory:  # 20 rows of scores
        found = *there.topk(4, axis=None), (there.dense(), 0)
    assert memory.failures >= 2
    exact = name not in ("factors", "absolute")  # a product of another size may round differently
    for one, other in zip(found, expected, strict=True):
        for values, wanted in zip(one, other, strict=True):
            assert_allclose(values, wanted, rtol=0, atol=0 if exact else 1e-13)


@pytest.mark.usefixtures("small_tiles")
def test_sums_of_sparse_rows_are_the_same_bytes_for_any_tile(sims: dict[str, Similarity]) -> None:
    stripes = on(sims["pearson"])._source.stripes  # type: ignore[attr-defined]
    whole = stripes.scores(np.arange(37))
    for rows in (np.arange(5), np.arange(5, 37), np.array([36, 3])):
        assert torch.equal(stripes.scores(rows), whole[rows])


def test_without_room_for_one_row_the_cpu_computes(sims: dict[str, Similarity]) -> None:
    for n_bytes in (100, 10):  # no room for a row; none for the two sides
        there = on(sims["pearson"])
        with LimitedMemory(n_bytes), pytest.warns(DeviceWarning, match="activation similarity: cpu has no room"):
            same_lists([there.topk(2)], [sims["pearson"].topk(2)])
        with LimitedMemory(n_bytes), pytest.warns(DeviceWarning, match="has no room"):
            assert_allclose(there.block([3, 1]), sims["pearson"].block([3, 1]), atol=1e-13)


def test_other_errors_are_not_taken_for_a_lack_of_memory(sims: dict[str, Similarity]) -> None:
    there = on(sims["pearson"])
    there._source.stripes.scales[0] = torch.zeros(3)  # type: ignore[attr-defined]
    with pytest.raises((RuntimeError, IndexError)):
        there.topk(1)


def test_torchs_own_cpu_allocator_and_libraries_run_out_of_memory_too() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert device_memory.is_out_of_memory(caught.value)
    assert device_memory.is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `x`"))
    assert not device_memory.is_out_of_memory(RuntimeError("shape mismatch"))


def test_of_equal_keys_the_lower_columns_are_chosen() -> None:
    rng = np.random.default_rng(4)
    keys = torch.tensor(rng.integers(0, 4, (200, 50)).astype(float))
    keys[:20] = -torch.inf
    for k in (1, 7, 60):
        key, column = largest(keys, k)
        wanted = torch.sort(keys, dim=1, descending=True, stable=True)
        assert torch.equal(key, wanted.values[:, :k])
        assert torch.equal(torch.sort(column[20:], dim=1).values, torch.sort(wanted.indices[20:, :k], dim=1).values)


def test_a_copy_is_kept_for_as_long_as_its_array() -> None:
    array = np.arange(5, dtype=np.uint32)
    before = len(device_memory._copies)
    first = device_memory.copy_of(array, CPU)
    assert first.dtype == torch.int32
    assert device_memory.copy_of(array, CPU) is first
    assert len(device_memory._copies) == before + 1
    del array
    assert len(device_memory._copies) == before


def test_what_has_no_way_there_stays_on_the_cpu_with_a_word(plant: Planted) -> None:
    jaccard = Similarity.firing(plant.a, plant.b, measure="jaccard")
    large = Similarity.activation(plant.a, plant.b, memory_budget=1000)
    for sim, reason in ((jaccard, "no scaled sum of products"), (large, "raise memory_budget")):
        with pytest.warns(DeviceWarning, match=f"computed on the CPU, and not on cpu: .*{reason}"):
            assert on(sim)._source.device is None  # type: ignore[attr-defined]
    with pytest.raises(UniversalityError, match="give a device or an executor"):
        on(Similarity.activation(plant.a, plant.b, executor=ThreadPoolExecutor(1)))


def test_the_switch_takes_names_of_devices(plant: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Similarity.activation(plant.a, plant.b)
    assert sim.on("cpu") is sim
    with pytest.raises(UniversalityError, match="expected auto, cpu, cuda or the number of a card"):
        sim.on("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert sim.on("auto") is sim
    with pytest.warns(DeviceWarning, match="finds no CUDA card; computing on the CPU"):
        assert sim.on("cuda") is sim
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert sim.on("auto")._source.device == torch.device("cuda")  # type: ignore[attr-defined]
    with pytest.warns(DeviceWarning, match="dense similarity is computed on the CPU, and not on cuda"):
        Similarity.from_dense(np.eye(3)).on("cuda")

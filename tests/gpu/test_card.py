"""What a CUDA card computes: the same features as the CPU, the same bytes twice, and a whole run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from torch import Tensor

from tests.sae.compute.kernel_cases import CASES
from universality.activations.card_copies import copied_to
from universality.corpus.documents import DocumentTable
from universality.features import FeatureStore
from universality.sae import SAE, SAESpec, SAETrainer, train_grid
from universality.sae.compute import triton_choice
from universality.sae.training.dead_features import DeadFeatures
from universality.similarity import Similarity
from universality.similarity.engine import device_memory
from universality.statistics import calibrate

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

ROOT = Path(__file__).parents[2]
STEPS, BATCH = 400, 256
SPECS = {
    "topk": SAESpec(128, k=3, learning_rate=1e-2, dead_after_tokens=5000),
    "relu": SAESpec(128, "relu", l1=0.02, learning_rate=1e-2),
    "jumprelu": SAESpec(128, "jumprelu", l0=0.02, bandwidth=0.5, learning_rate=1e-2),
    "batchtopk": SAESpec(128, "batchtopk", k=3, learning_rate=1e-2, dead_after_tokens=5000),
    "matryoshka": SAESpec(128, "matryoshka", k=3, nested=(32, 64), learning_rate=1e-2, dead_after_tokens=5000),
}


@pytest.fixture(scope="module")
def activations() -> Tensor:
    """96 sparse features in 48 dimensions [20,000, 48]."""
    generator = torch.Generator().manual_seed(3)
    directions = torch.nn.functional.normalize(torch.randn(96, 48, generator=generator))
    fires = torch.rand(20_000, 96, generator=generator).topk(3, dim=1).indices
    strength = torch.rand(20_000, 3, generator=generator) + 0.5
    return torch.zeros(20_000, 96).scatter_(1, fires, strength) @ directions


def batches(x: Tensor, first: int = 0) -> Iterator[dict[str, Tensor]]:
    for step in range(first, STEPS):
        yield {"m": x[torch.randint(len(x), (BATCH,), generator=torch.Generator().manual_seed(step)).to(x.device)]}


def train(spec: SAESpec, x: Tensor) -> SAETrainer:
    trainer = SAETrainer(spec, x, STEPS)
    for batch in batches(x):
        trainer.step(batch["m"])
    return trainer


def explained(sae: SAE, x: Tensor) -> float:
    error = x - torch.from_numpy(np.asarray(sae.decode(sae.encode(x))))
    return 1 - float(error.square().sum() / (x - x.mean(0)).square().sum())


@pytest.mark.parametrize("products", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", SPECS)
def test_a_card_learns_as_much_as_the_cpu(name: str, products: str, activations: Tensor) -> None:
    spec = SAESpec(**{**SPECS[name].as_dict(), "products": products})
    cpu, card = (explained(train(spec, x).finish(), activations) for x in (activations, activations.cuda()))
    assert cpu > 0.6
    assert card == pytest.approx(cpu, abs=0.03)


@pytest.mark.parametrize("name", SPECS)
def test_the_same_training_twice_gives_the_same_bytes(name: str, activations: Tensor) -> None:
    first, second = (train(SPECS[name], activations.cuda()).weights.tensors() for _ in range(2))
    for key, tensor in first.items():
        assert torch.equal(tensor, second[key]), key


@pytest.mark.parametrize("name", ["topk", "relu"])  # sparse entries; dense products, while half of the features fire
def test_training_on_a_side_stream_gives_the_same_bytes_by_stock_operators(name: str, activations: Tensor) -> None:
    """All of a step is queued on the caller's stream: work on another one would not wait for what it reads."""
    x, found = activations.cuda(), []
    with triton_choice.stock_operators():
        for stream in (torch.cuda.current_stream(), torch.cuda.Stream()):
            torch.cuda.synchronize()
            with torch.cuda.stream(stream):
                trainer = SAETrainer(SPECS[name], x, STEPS)
                for batch in islice(batches(x), 50):
                    trainer.step(batch["m"])
                torch.cuda.synchronize()
                found.append(trainer.weights.tensors())
    for key, tensor in found[0].items():
        assert torch.equal(tensor, found[1][key]), key


def test_an_interrupted_grid_resumes_to_the_same_bytes(activations: Tensor, tmp_path: Path) -> None:
    x = activations.cuda()

    def grid() -> dict[tuple[str, str], SAETrainer]:
        return {("m", name): SAETrainer(SPECS[name], x, STEPS) for name in ("topk", "batchtopk")}

    whole, begun, resumed = grid(), grid(), grid()
    train_grid(whole, lambda first: batches(x, first), tmp_path / "whole")
    with pytest.raises(Exception, match="ended after 150"):
        train_grid(begun, lambda first: islice(batches(x, first), 150), tmp_path / "part")
    train_grid(resumed, lambda first: batches(x, first), tmp_path / "part")
    for key, trainer in whole.items():
        for name, tensor in trainer.weights.tensors().items():
            assert torch.equal(tensor, resumed[key].weights.tensors()[name]), (key, name)


@pytest.fixture
def card() -> torch.device:
    """A card on which Triton's kernels run."""
    device = torch.device("cuda", torch.cuda.current_device())
    if not triton_choice.works_on(device):
        expected = torch.cuda.get_device_capability(device) >= (8, 0) and find_spec("triton") is not None
        (pytest.fail if expected else pytest.skip)("Triton's kernels do not run here: see the warning, if there is one")
    return device


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_equals_the_stock_path_and_gives_the_same_bytes_twice(name: str, card: torch.device) -> None:
    """The interpreter runs programs one after another and would hide a race; a second run would show it."""
    first, second = (CASES[name](card) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.device.type == "cuda"
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", SPECS)
def test_training_with_kernels_learns_as_much_as_without(name: str, activations: Tensor, card: torch.device) -> None:
    x = activations.to(card)
    kernels = explained(train(SPECS[name], x).finish(), activations)
    with triton_choice.stock_operators():
        stock = explained(train(SPECS[name], x).finish(), activations)
    assert stock > 0.6
    assert kernels == pytest.approx(stock, abs=0.03)


def test_kernels_compute_on_a_card_that_is_not_the_current_one_and_on_a_side_stream(card: torch.device) -> None:
    device = torch.device("cuda", torch.cuda.device_count() - 1)
    with torch.cuda.stream(torch.cuda.Stream(device)):
        made = CASES["sums_of_gathered_rows"](device)
        torch.cuda.synchronize(device)
    assert all(tensor.device == device for tensor in made)


def test_a_step_of_topk_waits_for_the_card_only_to_know_the_number_of_dead_features(
    activations: Tensor, card: torch.device
) -> None:
    """No array's size depends on what fires, so the CPU queues a step while the card computes."""
    x = activations.to(card)
    trainer = SAETrainer(SPECS["topk"], x, STEPS)
    trainer.step(x[:BATCH])  # compiles
    torch.cuda.synchronize(card)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.step(x[BATCH : 2 * BATCH])
    finally:
        torch.cuda.set_sync_debug_mode(before)


def test_dead_features_are_those_that_a_mask_names(card: torch.device) -> None:
    dead, generator = DeadFeatures(card), torch.Generator(card).manual_seed(0)
    assert dead.positions().shape == (0,)
    for share in (0.0, 0.4, 1.0, 0.1):
        mask = torch.rand(70_000, generator=generator, device=card) < share
        dead.mark(mask)
        if share != 0.4:  # a count that is never asked for
            assert torch.equal(dead.positions(), mask.nonzero().squeeze(1))


def test_copies_aside_arrive_before_they_are_used_and_are_not_overwritten() -> None:
    """Many copies in turn, while the card is busy and their memory is reused."""
    card = torch.device("cuda", torch.cuda.current_device())
    busy = torch.randn(2048, 2048, device=card)
    sums = []
    for number in range(50):
        rows = torch.full((4096, 256), float(number))
        copied = copied_to(card, rows)
        rows.fill_(-1)  # the copy has its own page-locked memory
        busy = busy @ busy / 2048
        sums.append(copied.sum())
        del copied
    assert torch.stack(sums).tolist() == [number * 4096 * 256.0 for number in range(50)]


@pytest.fixture(scope="module")
def dictionaries(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, FeatureStore]:
    """Two stores of 4,096 features and 20,000 tokens, of which 24 features fire on each, and two on all of them."""
    folder, rng, n = tmp_path_factory.mktemp("dictionaries"), np.random.default_rng(0), 20_000
    rate = np.geomspace(0.1, 0.0005, 4096)
    fires = np.stack([rng.choice(4096, 24, replace=False, p=rate / rate.sum()) for _ in range(n)])
    each = [f"d{d}" for d in range(n // 100)]
    splits = ["choose" if d % 2 else "report" for d in range(len(each))]
    documents = DocumentTable(id=tuple(each), kind=("text",) * len(each), group=tuple(each), split=tuple(splits))
    made = []
    for name in ("a", "b"):
        strength = rng.gamma(4, 0.25, fires.shape).astype(np.float32)
        columns = np.hstack([np.tile([4096, 4097], (n, 1)), fires])
        values = np.hstack([rng.uniform(100, 101, (n, 2)).astype(np.float32), strength])
        rows = sparse.csr_matrix((values.ravel(), columns.ravel(), np.arange(n + 1) * 26), (n, 4098))
        rows.sort_indices()
        document = np.arange(n) // 100
        writer = FeatureStore.create(folder / f"{name}.h5", 4098, {}, documents=documents)
        writer.append(rows, token=np.arange(n) % 50, document=document, position=np.arange(n) % 100 + 1,
                      kind=np.full(n, "text"))  # fmt: skip
        made.append(writer.finish())
    return made[0], made[1]


def lists(sim: Similarity) -> list[np.ndarray]:
    (col, of_row), (row, of_col) = sim.topk(16, axis=None)
    return [col, of_row, row, of_col]


@pytest.mark.parametrize("measure", ["pearson", "cosine"])
def test_best_partners_are_the_same_bytes_twice_and_those_of_the_cpu(
    dictionaries: tuple[FeatureStore, FeatureStore], measure: Any
) -> None:
    here = Similarity.activation(*dictionaries, measure=measure)
    first, second = (lists(here.on("cuda")) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert_array_equal(one, other)
    for one, other in zip(first, lists(here), strict=True):
        assert_allclose(one, other, rtol=0, atol=1e-12)  # partners, too


def test_a_card_without_memory_halves_the_tile_and_finds_the_same_bytes(
    dictionaries: tuple[FeatureStore, FeatureStore],
) -> None:
    there = Similarity.activation(*dictionaries).on("cuda")
    expected = lists(there)
    torch.cuda.empty_cache()
    reserved = torch.cuda.memory_reserved()
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    halved = []
    released = device_memory._release
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_memory, "_release", lambda: (halved.append(1), released()))
        torch.cuda.set_per_process_memory_fraction((reserved + 400e6) / total)  # a tile takes about 2 GB
        try:
            found = lists(there)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
    assert halved
    for one, other in zip(found, expected, strict=True):
        assert_array_equal(one, other)


def test_tf32_enters_no_correlation(dictionaries: tuple[FeatureStore, FeatureStore]) -> None:
    rng = np.random.default_rng(0)
    factors = Similarity.from_factors(rng.standard_normal((500, 64)), rng.standard_normal((400, 64)))
    neurons = dictionaries[0].csr()[:, :8].toarray()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert_allclose(factors.on("cuda").dense(), factors.dense(), rtol=0, atol=1e-12)
        product = torch.tensor(neurons, dtype=torch.float64, device="cuda")
        assert_allclose((product.T @ product).cpu(), neurons.T.astype(float) @ neurons, rtol=1e-12)
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_match_with_its_nulls_is_that_of_the_cpu_on_any_card(
    dictionaries: tuple[FeatureStore, FeatureStore],
) -> None:
    last = f"cuda:{torch.cuda.device_count() - 1}"  # which need not be the current one
    options = {"replicates": 1, "bootstrap": 0, "null": "global", "floor": 0.1}
    here, there = (calibrate(*dictionaries, device=device, **options) for device in ("cpu", last))
    assert there.match.provenance["device"].startswith(last)
    assert_allclose(there.match.scores.sum(), here.match.scores.sum(), rtol=1e-10)
    # Rare features may exchange partners at the same sum: then rounding decides.
    assert_allclose(np.sort(there.null_scores), np.sort(here.null_scores), rtol=0, atol=1e-9)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The smoke configuration: a whole run on the card; its models and SAEs on the card again, and on the CPU alone."""
    pytest.importorskip("transformer_lens")
    folders, started = {}, {}
    for name, command, visible in (("card", "run", None), ("again", "train-saes", None), ("cpu", "train-saes", "")):
        folders[name] = tmp_path_factory.mktemp(name)
        arguments = [sys.executable, "-m", "universality", command, ROOT / "configs" / "smoke.yaml"]
        env = os.environ | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
        told, errors = ((folders[name] / f"{stream}.txt").open("w") for stream in ("stdout", "stderr"))
        with told, errors:  # side by side: most of their time is imports
            started[name] = subprocess.Popen(
                [*arguments, "--out", folders[name] / "run"], env=env, stdout=told, stderr=errors
            )
    try:
        for name, process in started.items():
            assert process.wait(timeout=300) == 0, (folders[name] / "stderr.txt").read_text()[-3000:]
    finally:
        for process in started.values():
            process.kill()  # after a failure or the end of the tests' time none may run beside what is measured
    return {name: folder / "run" for name, folder in folders.items()}


def test_a_second_run_on_the_card_makes_the_same_weights(runs: dict[str, Path]) -> None:
    first = {f.relative_to(runs["card"]): f.read_bytes() for f in runs["card"].rglob("*.safetensors")}
    again = {f.relative_to(runs["again"]): f.read_bytes() for f in runs["again"].rglob("*.safetensors")}
    assert any("saes" in name.parts for name in again)
    for name, content in again.items():
        assert content == first[name], name


def test_a_run_says_that_the_card_matched(runs: dict[str, Path]) -> None:
    from universality.pipeline import RunFolder
    from universality.statistics import Calibration

    told = (runs["card"].parent / "stdout.txt").read_text()
    assert re.search(r"models, SAEs, matches and families are computed on cuda \(.+\)", told)
    assert Calibration.load(RunFolder(runs["card"]).calibration("A-B.w128")).match.provenance["device"][:4] == "cuda"


def test_a_whole_run_on_the_card_finds_what_the_cpu_finds(runs: dict[str, Path]) -> None:
    def qualities(folder: Path) -> dict[str, Any]:
        files = sorted(folder.glob("saes/*/*/quality.json"))
        return {str(f.relative_to(folder)): json.loads(f.read_text()) for f in files}

    card, cpu = qualities(runs["card"]), qualities(runs["cpu"])
    assert card
    assert card.keys() == cpu.keys()
    for name, quality in card.items():
        assert quality["explained_variance"] == pytest.approx(cpu[name]["explained_variance"], abs=0.05), name
        assert quality["l0"] == pytest.approx(cpu[name]["l0"], rel=0.1), name
    assert (runs["card"] / "report" / "index.html").is_file()

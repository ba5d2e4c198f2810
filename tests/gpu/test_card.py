"""What a CUDA card computes: the same features as the CPU, the same bytes twice, and a whole run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.sae.compute.kernel_cases import CASES
from universality.activations.card_copies import copied_to
from universality.sae import SAE, SAESpec, SAETrainer, train_grid
from universality.sae.compute import triton_choice
from universality.sae.training.dead_features import DeadFeatures

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
        pytest.skip("Triton's kernels do not run here: see the warning, if Triton is installed and the card an Ampere")
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
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The smoke configuration: a whole run on the card; its models and SAEs on the card again, and on the CPU alone."""
    pytest.importorskip("transformer_lens")
    folders, started = {}, {}
    for name, command, visible in (("card", "run", None), ("again", "train-saes", None), ("cpu", "train-saes", "")):
        folders[name] = tmp_path_factory.mktemp(name)
        arguments = [sys.executable, "-m", "universality", command, ROOT / "configs" / "smoke.yaml"]
        env = os.environ | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
        with (folders[name] / "stderr.txt").open("w") as errors:  # side by side: most of their time is imports
            started[name] = subprocess.Popen(
                [*arguments, "--out", folders[name] / "run"], env=env, stdout=subprocess.DEVNULL, stderr=errors
            )
    for name, process in started.items():
        assert process.wait(timeout=300) == 0, (folders[name] / "stderr.txt").read_text()[-3000:]
    return {name: folder / "run" for name, folder in folders.items()}


def test_a_second_run_on_the_card_makes_the_same_weights(runs: dict[str, Path]) -> None:
    first = {f.relative_to(runs["card"]): f.read_bytes() for f in runs["card"].rglob("*.safetensors")}
    again = {f.relative_to(runs["again"]): f.read_bytes() for f in runs["again"].rglob("*.safetensors")}
    assert any("saes" in name.parts for name in again)
    for name, content in again.items():
        assert content == first[name], name


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

"""Many SAEs from one stream: each as if alone, and a killed run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from universality.errors import CorpusError, FormatError, MismatchError
from universality.sae import Quality, SAESpec, SAETrainer, clear_checkpoints, merge_logs, train_grid
from universality.sae.training.grid import HELD_OUT

if TYPE_CHECKING:
    from tests.sae.conftest import Superposition

STEPS = 12
SPECS = {
    "w64": SAESpec(64, k=4),
    "w96": SAESpec(96, k=4, dead_after_tokens=300),
    "relu": SAESpec(64, "relu", l1=0.01),
}
Key = tuple[str, str]
Batches = Callable[[int], Iterator[dict[str, Tensor]]]


class KilledError(Exception):
    pass


def grid(toy: Superposition) -> dict[Key, SAETrainer]:
    samples = {"a": toy.activations, "b": toy.activations.flip(1)}
    return {(model, name): SAETrainer(spec, samples[model], STEPS) for model in samples for name, spec in SPECS.items()}


def stream(toy: Superposition, killed_at: int | None = None, n: int = STEPS) -> Batches:
    def batches(start: int) -> Iterator[dict[str, Tensor]]:
        for step in range(start, n):
            if step == killed_at:
                raise KilledError
            rows = toy.activations[100 * step : 100 * (step + 1)]
            yield {"a": rows, "b": rows.flip(1)}

    return batches


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def hashes(trainers: Mapping[Key, SAETrainer]) -> dict[Key, str]:
    return {key: trainer.finish().hash for key, trainer in trainers.items()}


@pytest.fixture(scope="module")
def alone(toy: Superposition) -> dict[Key, str]:
    """Every SAE trained by itself."""
    trainers = grid(toy)
    for (model, _), trainer in trainers.items():
        for batch in stream(toy)(0):
            trainer.step(batch[model])
    return hashes(trainers)


def test_each_sae_is_as_if_alone(toy: Superposition, alone: dict[Key, str], tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 16):  # on 16 the grid is too small to share out, so steps are
            torch.set_num_threads(threads)
            trainers = grid(toy)
            train_grid(trainers, stream(toy), tmp_path / str(threads))
            assert hashes(trainers) == alone
    finally:
        torch.set_num_threads(before)
    assert len(set(alone.values())) == 6, "two SAEs of the grid are the same"


def test_a_killed_run_ends_in_the_same_bytes(toy: Superposition, alone: dict[Key, str], tmp_path: Path) -> None:
    options = {"checkpoint_steps": 4, "log_steps": 2}
    with pytest.raises(KilledError):
        train_grid(grid(toy), stream(toy, killed_at=7), tmp_path, **options)
    assert [line["step"] for line in log(tmp_path)] == [0, 2, 4, 6]
    trainers = grid(toy)
    train_grid(trainers, stream(toy), tmp_path, **options)
    assert hashes(trainers) == alone
    lines = log(tmp_path)
    assert [line["step"] for line in lines] == [0, 2, 4, 6, 8, 10, 11]
    assert lines[-1]["tokens"] == 100 * STEPS
    assert set(lines[-1]["saes"]) == {"/".join(key) for key in alone}
    assert {"loss", "explained_variance", "l0", "dead_share"} <= set(lines[-1]["saes"]["a/w64"])

    finished = grid(toy)
    train_grid(finished, stream(toy, killed_at=0), tmp_path, **options)  # nothing is left to do
    assert hashes(finished) == alone
    clear_checkpoints(tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_held_out_text_is_measured_and_changes_no_sae(
    toy: Superposition, alone: dict[Key, str], tmp_path: Path
) -> None:
    unseen = toy.activations[-200:]
    options = {"held_out": {"a": unseen}, "held_out_steps": 4, "checkpoint_steps": 4}
    with pytest.raises(KilledError):
        train_grid(grid(toy), stream(toy, killed_at=7), tmp_path, **options)
    trainers = grid(toy)
    train_grid(trainers, stream(toy), tmp_path, **options)
    assert hashes(trainers) == alone
    measured = {
        line["step"]: {name: n[HELD_OUT] for name, n in line["saes"].items() if HELD_OUT in n} for line in log(tmp_path)
    }
    assert {step: set(names) for step, names in measured.items() if names} == {
        step: {"/".join(key) for key in alone if key[0] == "a"} for step in (0, 4, 8, 11)
    }
    before_last = grid(toy)["a", "w64"]
    for batch in list(stream(toy)(0))[:-1]:
        before_last.step(batch["a"])
    quality = Quality(before_last.finish())
    quality.update(unseen)
    assert measured[11]["a/w64"] == quality.compute().explained_variance


def test_progress_is_shown_on_a_terminal_only(
    toy: Superposition, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_grid(grid(toy), stream(toy), tmp_path)
    assert capsys.readouterr() == ("", "")


def test_a_stream_that_does_not_fit_is_refused(toy: Superposition, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="the activations ended after 5 of 12 steps"):
        train_grid(grid(toy), stream(toy, n=5), tmp_path / "short")
    with pytest.raises(MismatchError, match=r"the batch lacks activations of \['b'\]; it has \['a'\]"):
        train_grid(grid(toy), lambda start: iter([{"a": toy.activations[:9]}]), tmp_path / "lacking")


def test_trainers_of_different_lengths_are_refused(toy: Superposition, tmp_path: Path) -> None:
    trainers = grid(toy)
    trainers["a", "w64"] = SAETrainer(SPECS["w64"], toy.activations, 13)
    with pytest.raises(MismatchError, match=r"must have the same number of steps, found \[12, 13\]"):
        train_grid(trainers, stream(toy), tmp_path)
    with pytest.raises(MismatchError, match="found none"):
        train_grid({}, stream(toy), tmp_path)


def test_saes_that_a_kill_parted_meet_again(toy: Superposition, alone: dict[Key, str], tmp_path: Path) -> None:
    """Killed between two checkpoints, some SAEs are ahead; others are new, as after a change of the ranks."""
    options = {"checkpoint_steps": 4, "log_steps": 1}
    for killed_at in (5, 9):
        with pytest.raises(KilledError):
            train_grid(grid(toy), stream(toy, killed_at=killed_at), tmp_path / str(killed_at), **options)
    (tmp_path / "9" / "checkpoints" / "b.relu.pt").replace(tmp_path / "5" / "checkpoints" / "b.relu.pt")
    (tmp_path / "5" / "checkpoints" / "a.w96.pt").unlink()
    trainers = grid(toy)
    train_grid(trainers, stream(toy), tmp_path / "5", **options)
    assert hashes(trainers) == alone
    lines = log(tmp_path / "5")
    assert [line["step"] for line in lines] == list(range(STEPS))
    assert set(lines[2]["saes"]) == {"/".join(key) for key in alone}, "what those ahead had said stands"
    assert set(lines[6]["saes"]) == {"/".join(key) for key in alone} - {"b/relu"}, "it was ahead when its log was lost"
    tokens = [line["tokens"] for line in lines]
    assert len({b - a for a, b in pairwise(tokens)}) == 1, "of those that step, not of those ahead"


def test_logs_of_several_processes_become_one(toy: Superposition, tmp_path: Path) -> None:
    parts: list[dict[Key, SAETrainer]] = [{}, {}]
    for i, (key, trainer) in enumerate(grid(toy).items()):
        parts[i % 2][key] = trainer
    for rank, part in enumerate(parts):
        train_grid(part, stream(toy), tmp_path, log_steps=5, log_name=f"train.rank{rank}.jsonl")
    merge_logs(tmp_path)
    assert [path.name for path in tmp_path.glob("*.jsonl")] == ["train.jsonl"]
    assert [line["step"] for line in log(tmp_path)] == [0, 5, 10, 11]
    assert all(set(line["saes"]) == {"/".join(key) for key in grid(toy)} for line in log(tmp_path))


def test_foreign_and_torn_checkpoints_are_refused(toy: Superposition, tmp_path: Path) -> None:
    made = {"a": {"blocks": "3f2a"}, "b": {"blocks": "3f2a"}}
    train_grid(grid(toy), stream(toy), tmp_path, made_from=made)
    with pytest.raises(MismatchError, match=r"b.w64.pt: made from .*3f2a.*, this run from .*91bc"):
        train_grid(grid(toy), stream(toy), tmp_path, made_from=made | {"b": {"blocks": "91bc"}})
    other = grid(toy)
    other["b", "relu"] = SAETrainer(SAESpec(64, "relu", l1=0.02), toy.activations.flip(1), STEPS)
    with pytest.raises(MismatchError, match=r"b.relu.pt: the checkpoint was written with spec .*0.01.*, this run has"):
        train_grid(other, stream(toy), tmp_path, made_from=made)
    path = tmp_path / "checkpoints" / "a.w96.pt"
    whole = bytearray(path.read_bytes())
    path.write_bytes(whole[:1000])
    with pytest.raises(FormatError, match=r"a.w96.pt: a truncated or corrupt checkpoint .* delete it"):
        train_grid(grid(toy), stream(toy), tmp_path, made_from=made)
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(FormatError, match=r"a.w96.pt: a truncated or corrupt checkpoint .* delete it"):
        train_grid(grid(toy), stream(toy), tmp_path, made_from=made)

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from universality.corpus import TokenBlocks
from universality.errors import CorpusError, FormatError, MismatchError
from universality.models import train_model as train
from universality.models.baselines import baselines
from universality.models.model_settings import ModelArchitecture, ModelSeeds, ModelTraining
from universality.models.train_model import learning_rate, train_model

SEEDS = ModelSeeds(init=0, order=1)


def trained(blocks: TokenBlocks, folder: Path, architecture: ModelArchitecture, seeds: ModelSeeds = SEEDS, **options):
    settings = ModelTraining(**{"epochs": 0.5, "batch_blocks": 16, "checkpoint_steps": 5} | options)
    return train_model(blocks, folder, seeds=seeds, architecture=architecture, training=settings, name="m")


def test_learns_more_than_counting_single_tokens(blocks, architecture, tmp_path) -> None:
    model = trained(blocks, tmp_path, architecture, epochs=1, learning_rate=2e-2)
    counted = baselines(blocks.select("train"), blocks.select("choose", "report"))
    assert model.metadata["held_out_loss"] < counted.unigram - 0.2
    log = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert log[0]["loss"] > log[-1]["loss"]


def test_killed_training_ends_in_the_same_weights(blocks, architecture, tmp_path, monkeypatch) -> None:
    whole = trained(blocks, tmp_path / "whole", architecture)

    class Killed(BaseException):
        pass

    real, steps = train._step, []

    def dies_at_twelve(*arguments):
        steps.append(1)
        if len(steps) > 12:
            raise Killed
        return real(*arguments)

    monkeypatch.setattr(train, "_step", dies_at_twelve)
    with pytest.raises(Killed):
        trained(blocks, tmp_path / "cut", architecture)
    monkeypatch.setattr(train, "_step", real)
    resumed = trained(blocks, tmp_path / "cut", architecture)
    assert resumed.hash == whole.hash
    assert (tmp_path / "cut" / "train.jsonl").read_text() == (tmp_path / "whole" / "train.jsonl").read_text()
    assert not (tmp_path / "cut" / "checkpoint.pt").exists()


def test_seeds_of_weights_and_order_are_apart(blocks, architecture, tmp_path) -> None:
    seeds = [(0, 1), (0, 2), (1, 1)]
    hashes = {
        trained(blocks, tmp_path / f"{i}{o}", architecture, ModelSeeds(init=i, order=o), epochs=0.1).hash
        for i, o in seeds
    }
    assert len(hashes) == 3


def test_checkpoints_of_other_settings_and_torn_ones_are_refused(blocks, architecture, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(train.Path, "unlink", lambda *_, **__: None)  # keep the checkpoint
    trained(blocks, tmp_path, architecture, epochs=0.2)
    with pytest.raises(MismatchError, match=r"made from .*, this run from .*; delete it"):
        trained(blocks, tmp_path, architecture, epochs=0.2, learning_rate=1e-4)
    checkpoint = tmp_path / "checkpoint.pt"
    whole = checkpoint.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (whole[:1000], flipped):
        checkpoint.write_bytes(content)
        with pytest.raises(FormatError, match="a truncated or corrupt checkpoint"):
            trained(blocks, tmp_path, architecture, epochs=0.2)
    checkpoint.write_bytes(whole)
    found = torch.load(checkpoint, weights_only=True)
    del found["state"]["optimizer"]
    torch.save(found, checkpoint)
    with pytest.raises(FormatError, match="the checkpoint lacks 'optimizer'; delete it to start again"):
        trained(blocks, tmp_path, architecture, epochs=0.2)


def test_nothing_to_train_on(blocks, architecture, tmp_path) -> None:
    table = replace(blocks.documents, split=("report",) * len(blocks.documents))
    with pytest.raises(CorpusError, match="no document is in the split 'train'"):
        trained(replace(blocks, documents=table), tmp_path, architecture)


def test_schedule_rises_then_falls() -> None:
    settings = ModelTraining(learning_rate=1.0, warmup_share=0.1, final_share=0.05)
    rates = torch.tensor([learning_rate(step, 100, settings) for step in range(100)])
    assert rates.argmax() in (9, 10)
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.05, abs=0.01)

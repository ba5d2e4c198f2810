"""Trains two SAEs on activations that follow from nothing but numbers, for tests that kill it or fill its disk.

python tests/sae/training_process.py FOLDER [LARGEST_FILE_IN_BYTES]
"""

import resource
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from universality.sae import SAESpec, SAETrainer, train_grid

STEPS, D_IN = 60, 32
SPECS = {"w64": SAESpec(64, k=4, dead_after_tokens=2000), "relu": SAESpec(48, "relu", l1=0.01)}


def batches(start: int) -> Iterator[dict[str, Tensor]]:
    for step in count(start):
        yield {"m": torch.randn(256, D_IN, generator=torch.Generator().manual_seed(step)).relu()}


def main(folder: Path) -> None:
    sample = next(batches(10**6))["m"]
    trainers = {("m", name): SAETrainer(spec, sample, STEPS) for name, spec in SPECS.items()}
    train_grid(trainers, batches, folder, checkpoint_steps=3, log_steps=1)
    for (_, name), trainer in trainers.items():
        trainer.finish().save(folder / name)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        limit = int(sys.argv[2])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    main(Path(sys.argv[1]))

"""One rank of a data-parallel training on random activations, and the SAE that it ends with.

RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set, as torchrun does: python tests/sae/rank_process.py FOLDER
"""

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from universality.sae import SAESpec, SAETrainer, train_grid
from universality.sae.distributed import DataParallelTrainer, Ranks, join_ranks, share_of_batches

STEPS, D_IN = 40, 32
SPECS = {
    "topk": SAESpec(64, k=4),
    "aux": SAESpec(96, k=2, dead_after_tokens=500),
    "relu": SAESpec(48, "relu", l1=0.01),
}


def batches(start: int) -> Iterator[dict[str, Tensor]]:
    for step in count(start):
        yield {"m": torch.randn(257, D_IN, generator=torch.Generator().manual_seed(step)).relu()}


def train(folder: Path, ranks: Ranks) -> None:
    kind = SAETrainer if ranks.size == 1 else DataParallelTrainer
    sample = next(batches(10**6))["m"]
    trainers = {("m", name): kind(spec, sample, STEPS) for name, spec in SPECS.items()}
    train_grid(
        trainers, lambda at: share_of_batches(batches(at), ranks), folder, checkpoint_steps=20, write=ranks.first
    )
    for (_, name), trainer in trainers.items():
        trainer.finish().save(folder / f"{name}.rank{ranks.rank}")


if __name__ == "__main__":
    ranks = join_ranks()
    said = ranks.tell({"from": ranks.rank})
    assert said == {"from": 0}
    train(Path(sys.argv[1]), ranks)
    ranks.wait()
    ranks.leave()

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
from universality.sae.compute.batch_gradients import Step
from universality.sae.training.distributed import DataParallelTrainer, Ranks, join_ranks, share_of_batches

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


def count_where_one_rank_has_nothing(ranks: Ranks) -> list[float]:
    """The sums behind the threshold, after a step in which nothing fired on the first rank, and one on none."""
    trainer = DataParallelTrainer(SAESpec(48, "batchtopk", k=2), next(batches(0))["m"], STEPS)
    trainer._batch_tokens = 8
    none, x = torch.zeros(48, dtype=torch.int64), torch.zeros(4, D_IN)
    for fires in (ranks.rank == 1, False, True):
        lowest = (ranks.rank + 0.5) if fires else None
        step = Step((), x[0], x[0], None, 0.0, 0.0, none + int(fires), x, lowest)
        trainer._count(step, 4)
    assert trainer.silent_tokens.max() == 0
    return [float(value) for value in trainer.running_threshold.sums]


if __name__ == "__main__":
    ranks = join_ranks()
    said = ranks.broadcast({"from": ranks.rank})
    assert said == {"from": 0}
    if ranks.size == 2:
        assert count_where_one_rank_has_nothing(ranks) == [1.5 * 0.9 + 1.0, 1.9]
    train(Path(sys.argv[1]), ranks)
    ranks.wait()
    ranks.shut_down()

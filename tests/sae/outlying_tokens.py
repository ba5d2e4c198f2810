"""Activations with a few tokens of very large norm, and a short training on them."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from universality.sae import SAE, SAESpec, SAETrainer

STEPS, BATCH = 100, 256
SPEC = SAESpec(48, k=2, learning_rate=1e-2, seed=1)


def with_outliers(x: Tensor, times: float, every: int = 250) -> Tensor:
    """The same with one token in ``every`` of ``times`` the mean norm, all in one direction."""
    out = x.clone()
    out[::every] = 0
    out[::every, 5] = times * float(x.norm(dim=1).mean())
    return out


def train(x: Tensor, spec: SAESpec = SPEC, steps: int = STEPS) -> tuple[SAE, dict[str, float]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        trainer = SAETrainer(spec, x, steps)
    generator = torch.Generator().manual_seed(0)
    numbers = {}
    for step in range(steps):
        rows = x[torch.randint(len(x), (BATCH,), generator=generator)]
        numbers = trainer.step(rows, report=step == steps - 1)
    return trainer.finish(), numbers

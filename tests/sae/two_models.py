"""Activations of two models made of planted concepts, some of which only one model knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WIDTHS = {"A": 40, "B": 28}
N_SHARED, N_ALONE, FIRING = 40, 16, 3


@dataclass(frozen=True)
class World:
    """Activations of two models made of the same concepts; some of them only one model knows."""

    rows: dict[str, Tensor]
    """Model → what each concept adds [n_concepts, d_in]; zeros where it does not know the concept."""
    strength: Tensor
    """[n_tokens, n_concepts]."""
    activations: dict[str, Tensor]
    """Model → [n_tokens, d_in]; B in units of its own."""
    kind: NDArray[np.str_]
    """``shared``, ``exclusive A`` or ``exclusive B`` [n_concepts]."""

    @property
    def scales(self) -> dict[str, float]:
        return {name: float(x.var(dim=0, correction=0).sum()) ** -0.5 for name, x in self.activations.items()}


def plant(n_tokens: int = 20_000, seed: int = 5, unit_of_b: float = 7.0) -> World:
    generator = torch.Generator().manual_seed(seed)
    kind = np.repeat(["shared", "exclusive A", "exclusive B"], [N_SHARED, N_ALONE, N_ALONE])
    strength = torch.rand(n_tokens, kind.size, generator=generator) + 0.5
    which = torch.rand(n_tokens, kind.size, generator=generator).topk(FIRING, dim=1).indices
    strength = torch.zeros_like(strength).scatter(1, which, strength.gather(1, which))
    rows, activations = {}, {}
    for name, unit in (("A", 1.0), ("B", unit_of_b)):
        directions = torch.randn(kind.size, WIDTHS[name], generator=generator)
        directions *= unit / directions.norm(dim=1, keepdim=True)
        directions[torch.from_numpy((kind != "shared") & (kind != f"exclusive {name}"))] = 0
        rows[name] = directions
        activations[name] = strength @ directions + unit * 0.3 * torch.randn(WIDTHS[name], generator=generator)
    return World(rows, strength, activations, kind)

"""The SAE architectures by name. One more is one more file, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Protocol

import torch
from torch import Tensor

from universality.errors import ModelError
from universality.sae.codes import Codes
from universality.sae.relu import ReLU
from universality.sae.step import Batch, Step
from universality.sae.topk import TopK
from universality.sae.weights import Weights


class Architecture(Protocol):
    """What makes one kind of SAE differ from another; a frozen dataclass of its settings."""

    def activate(self, pre: Tensor) -> Tensor:
        """Activations of pre-activations, both [n_tokens, d_sae]."""

    def select(self, pre: Tensor) -> Codes:
        """The same as (indices, values), on a CPU."""

    def step(
        self, weights: Weights, batch: Batch, dead: Tensor, products: torch.dtype, apply_b_dec_to_input: bool
    ) -> tuple[Step, Tensor | float]:
        """Gradients of its loss on a batch, and the value of its auxiliary loss (0 for none)."""


ARCHITECTURES: dict[str, Any] = {"relu": ReLU, "topk": TopK}


def architecture(name: str, settings: Mapping[str, Any]) -> Architecture:
    """The architecture of this name; it takes from ``settings`` those that it knows.

    Raises
    ------
    ModelError
        If there is none of this name.
    """
    if name not in ARCHITECTURES:
        raise ModelError(f"unknown SAE architecture {name!r}; known: {', '.join(ARCHITECTURES)}")
    kind = ARCHITECTURES[name]
    made: Architecture = kind(**{f.name: settings[f.name] for f in fields(kind) if f.name in settings})
    return made

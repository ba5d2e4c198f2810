"""ReLU with an L1 penalty.

    a = ReLU(W_enc (x − b_dec) + b_enc),    x̂ = W_decᵀ a + b_dec
    loss = mean squared error + l1 · (sum of a token's activations, averaged over tokens)

Bricken et al. 2023, *Towards Monosemanticity*. Without a pre-encoder bias: a = ReLU(W_enc x + b_enc).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from universality.sae.architectures.base import Architecture


@dataclass(frozen=True)
class ReLU(Architecture):
    """ReLU with an L1 penalty; the module states the equations."""

    l1: float = 0.0

    @property
    def adaptive(self) -> bool:
        """True: half of the features fire before training, few after it."""
        return True

    def backward(
        self, pre: Tensor, grad: Tensor, threshold: Tensor | None, n_tokens: int
    ) -> tuple[Tensor, Tensor | None]:
        """Pass gradients to the features that fire, adding the penalty's l1 / n_tokens."""
        # Decoder rows are unit vectors, or small activations with long rows would evade the penalty.
        return torch.where(pre > 0, grad + self.l1 / n_tokens, 0), None

    def scheduled(self, penalty_share: float, progress: float) -> Architecture:
        """A copy with l1 scaled by ``penalty_share``."""
        return replace(self, l1=self.l1 * penalty_share)

    def penalty(self, acts: Tensor, n_tokens: int) -> Tensor | float:
        """L1 penalty, summed in float64."""
        return self.l1 * acts.sum(dtype=torch.float64) / n_tokens

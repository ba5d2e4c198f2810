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
    """See the module for its equations."""

    l1: float = 0.0

    @property
    def adaptive(self) -> bool:
        """Half of the features of an untrained one fire, few of a trained one."""
        return True

    def backward(
        self, pre: Tensor, grad: Tensor, threshold: Tensor | None, n_tokens: int
    ) -> tuple[Tensor, Tensor | None]:
        """Where a feature fires, the penalty's gradient is l1 / n_tokens."""
        return torch.where(pre > 0, grad + self.l1 / n_tokens, 0), None

    def eased(self, share: float) -> Architecture:
        """With so much of l1."""
        return replace(self, l1=self.l1 * share)

    def penalty(self, acts: Tensor, n_tokens: int) -> Tensor | float:
        """L1."""
        return self.l1 * acts.sum(dtype=torch.float64) / n_tokens

"""BatchTopK: of a batch of n tokens the k · n largest pre-activations fire, so that hard tokens may have more.

    a = ReLU(TopK_{k·n}(W_enc (x − b_dec) + b_enc)),    x̂ = W_decᵀ a + b_dec
    loss = mean squared error + aux_weight · AuxK (see `universality.sae.compute.auxiliary_loss`)

A trained SAE must not look at the other tokens of a batch: there a feature fires above one threshold for all features,
a = z · H(z − θ). θ is the mean over the last steps of the smallest activation that fired in a batch, weighted by
0.9 to the power of its age (`RunningThreshold`); k features fire on a token on average.

Bussmann et al. 2024, *BatchTopK Sparse Autoencoders*. Of equal pre-activations the first fires.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from universality.sae.architectures.topk import TopK
from universality.sae.compute.selection import Rule


@dataclass(frozen=True)
class BatchTopK(TopK):
    """See the module for its equations."""

    @property
    def has_threshold(self) -> bool:
        """One for all features."""
        return True

    def inference(self, threshold: Tensor | None) -> Rule:
        """Above the threshold."""
        return Rule(floor=threshold)

    def training(self, threshold: Tensor | None, n_tokens: int) -> Rule:
        """The k · n_tokens largest of the batch."""
        return Rule(total=self.k * n_tokens)


class RunningThreshold:
    """Mean of the smallest activation that fired, over steps; the latest count most."""

    decay = 0.9

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)
        """Of the weighted values, and of their weights."""

    def add(self, lowest: float | Tensor) -> None:
        """The smallest activation of one more step."""
        self.sums *= self.decay
        self.sums[0] += lowest
        self.sums[1] += 1

    @property
    def value(self) -> float:
        """The mean; 0 before the first step."""
        total, weight = self.sums.tolist()
        return total / weight if weight else 0.0

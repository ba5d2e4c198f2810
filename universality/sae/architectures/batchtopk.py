"""BatchTopK: in a batch of n tokens the k · n largest pre-activations fire, so that hard tokens may have more.

    a = ReLU(TopK_{k·n}(W_enc (x − b_dec) + b_enc)),    x̂ = W_decᵀ a + b_dec
    loss = mean squared error + aux_weight · AuxK (see `universality.sae.compute.auxiliary_loss`)

A trained SAE must not look at the other tokens of a batch. It uses one threshold for all features instead,
a = z · H(z − θ), where θ is the mean over steps of the smallest activation that fired in a batch, weighted by 0.9 to
the power of a step's age (`RunningThreshold`). On average k features fire on a token.

Bussmann et al. 2024, *BatchTopK Sparse Autoencoders*. Ties are broken in favour of the earlier token and feature.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from universality.sae.architectures.base import FiringRule
from universality.sae.architectures.topk import TopK


@dataclass(frozen=True)
class BatchTopK(TopK):
    """The k · n_tokens largest of a batch; the module states the equations."""

    @property
    def has_threshold(self) -> bool:
        """True: one threshold for all features."""
        return True

    def inference(self, threshold: Tensor | None) -> FiringRule:
        """Features above the threshold."""
        return FiringRule(floor=threshold)

    def training(self, threshold: Tensor | None, n_tokens: int) -> FiringRule:
        """The k · n_tokens largest of the batch."""
        return FiringRule(total=self.k * n_tokens)


class RunningThreshold:
    """Exponentially weighted mean, over steps, of the smallest activation that fired."""

    # The last 10 steps have two thirds of the weight: long enough to average over batches, short enough that the
    # threshold is that of the final weights, which hardly move while the learning rate decays.
    decay = 0.9

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)
        """Sum of the weighted values, and sum of the weights."""

    def add(self, lowest: float | Tensor) -> None:
        """Add the smallest activation of one more step."""
        self.sums *= self.decay
        self.sums[0] += lowest
        self.sums[1] += 1

    @property
    def value(self) -> float:
        """The mean; 0 before the first step."""
        # Dividing by the sum of weights removes the bias towards 0 of the first steps, as Adam's correction does.
        total, weight = self.sums.tolist()
        return total / weight if weight else 0.0

"""What makes one kind of SAE differ from another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from universality.sae.compute.auxiliary_loss import AuxK
from universality.sae.compute.selection import Rule


@dataclass(frozen=True)
class Architecture:
    """An architecture: which features fire, what a firing costs, and how gradients pass through it.

    The trainer, `SAE` and both ways of computing gradients (by (indices, values) and dense) ask only for what stands
    here. What a kind does not say for itself is as in a plain ReLU without a penalty.
    """

    @property
    def adaptive(self) -> bool:
        """Whether so many features may fire that dense products are faster; measured then on every batch."""
        return False

    @property
    def has_threshold(self) -> bool:
        """Whether the trained SAE compares pre-activations with a threshold."""
        return False

    @property
    def initial_threshold(self) -> float | None:
        """Where learnt thresholds begin, for activations of mean square 1; None: none is learnt."""
        return None

    @property
    def aux(self) -> AuxK | None:
        """The auxiliary loss that wakes dead features."""
        return None

    def prefixes(self, d_sae: int) -> tuple[int, ...]:
        """Rising widths, the last one d_sae; the loss sums the squared errors of the first so many features."""
        return (d_sae,)

    def inference(self, threshold: Tensor | None) -> Rule:
        """Which features fire in the trained SAE; ``threshold`` [d_sae] is the learnt or measured one, if any."""
        return Rule()

    def training(self, threshold: Tensor | None, n_tokens: int) -> Rule:
        """Which pre-activations of a batch have a part in its loss or its gradient."""
        return self.inference(threshold)

    def activate(self, pre: Tensor, threshold: Tensor | None) -> Tensor:
        """Activations of pre-activations that `training` lets pass; of all, in an adaptive kind. Elementwise."""
        return pre.relu()

    def backward(
        self, pre: Tensor, grad: Tensor, threshold: Tensor | None, n_tokens: int
    ) -> tuple[Tensor, Tensor | None]:
        """∂loss/∂pre and ∂loss/∂(log threshold) of each of them, from ∂(squared error)/∂activation. Elementwise."""
        return torch.where(pre > 0, grad, 0), None

    def eased(self, share: float) -> Architecture:
        """This kind with so much of its penalty, while it rises."""
        return self

    def penalty(self, acts: Tensor, n_tokens: int) -> Tensor | float:
        """What these activations of n_tokens tokens add to the loss."""
        return 0.0

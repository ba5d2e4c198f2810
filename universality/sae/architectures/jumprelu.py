"""JumpReLU: a feature fires where its pre-activation exceeds a threshold of its own, which is learnt.

    z = W_enc (x − b_dec) + b_enc,    a = z · H(z − θ),    x̂ = W_decᵀ a + b_dec
    loss = mean squared error + l0 · (number of features that fire on a token, averaged over tokens)

H is the step function. It has no slope, so θ = exp(log_threshold) learns by straight-through estimates, which average
the jump over a window of width ε (``bandwidth``) about the threshold; K(u) = 1 where |u| < 1/2, else 0:

    ∂a/∂θ ≈ −(θ/ε) K((z − θ)/ε),    ∂H(z − θ)/∂θ ≈ −(1/ε) K((z − θ)/ε),    ∂a/∂z = H(z − θ)

Rajamanoharan et al. 2024, *Jumping Ahead*; Lieberum et al. 2024, *Gemma Scope*. They put a ReLU around z, which
changes nothing where θ > ε/2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from universality.sae.architectures.base import Architecture
from universality.sae.compute.selection import Rule


@dataclass(frozen=True)
class JumpReLU(Architecture):
    """See the module for its equations."""

    l0: float = 0.0
    bandwidth: float = 1.0

    @property
    def adaptive(self) -> bool:
        """Half of the features of an untrained one fire, few of a trained one."""
        return True

    @property
    def has_threshold(self) -> bool:
        """One a feature."""
        return True

    @property
    def initial_threshold(self) -> float | None:
        """The window about it lies above 0, and stays there while the threshold falls by half."""
        return self.bandwidth

    def inference(self, threshold: Tensor | None) -> Rule:
        """Above the threshold."""
        return Rule(floor=threshold)

    def training(self, threshold: Tensor | None, n_tokens: int) -> Rule:
        """Also those that are silent within the window: they move the threshold."""
        assert threshold is not None
        return Rule(floor=threshold - self.bandwidth / 2)

    def activate(self, pre: Tensor, threshold: Tensor | None) -> Tensor:
        """a = z · H(z − θ)."""
        assert threshold is not None
        return torch.where(pre > threshold, pre, 0)

    def backward(
        self, pre: Tensor, grad: Tensor, threshold: Tensor | None, n_tokens: int
    ) -> tuple[Tensor, Tensor | None]:
        """∂θ/∂(log threshold) = θ."""
        assert threshold is not None
        near = (pre - threshold).abs() < self.bandwidth / 2
        slope = (threshold * grad + self.l0 / n_tokens) * threshold / -self.bandwidth
        return torch.where(pre > threshold, grad, 0), torch.where(near, slope, 0)

    def eased(self, share: float) -> Architecture:
        """With so much of l0."""
        return replace(self, l0=self.l0 * share)

    def penalty(self, acts: Tensor, n_tokens: int) -> Tensor | float:
        """L0."""
        return self.l0 * (acts > 0).sum(dtype=torch.float64) / n_tokens

"""JumpReLU: a feature fires where its pre-activation exceeds a threshold of its own, which is learnt.

    z = W_enc (x − b_dec) + b_enc,    a = z · H(z − θ),    x̂ = W_decᵀ a + b_dec
    loss = mean squared error + l0 · (number of features that fire on a token, averaged over tokens)

The step function H has no slope, so θ = exp(log_threshold) learns by straight-through estimates, which average the jump
over a window of width ε (``bandwidth``) about the threshold. With K(u) = 1 where |u| < 1/2, else 0:

    ∂a/∂θ ≈ −(θ/ε) K((z − θ)/ε),    ∂H(z − θ)/∂θ ≈ −(1/ε) K((z − θ)/ε),    ∂a/∂z = H(z − θ)

Rajamanoharan et al. 2024, *Jumping Ahead*; Lieberum et al. 2024, *Gemma Scope*. They put a ReLU around z, which
changes nothing where θ > ε/2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from universality.sae.architectures.base import Architecture, FiringRule


@dataclass(frozen=True)
class JumpReLU(Architecture):
    """A learnt threshold for each feature; the module states the equations."""

    l0: float = 0.0
    bandwidth: float = 1.0

    @property
    def adaptive(self) -> bool:
        """True: many features fire before training, few after it."""
        return True

    @property
    def has_threshold(self) -> bool:
        """True: one threshold for each feature."""
        return True

    @property
    def initial_threshold(self) -> float | None:
        """The bandwidth."""
        # The window then begins at ε/2 above 0, and stays above 0 until the threshold has fallen by half.
        return self.bandwidth

    def inference(self, threshold: Tensor | None) -> FiringRule:
        """Features above their thresholds."""
        return FiringRule(floor=threshold)

    def training(self, threshold: Tensor | None, n_tokens: int) -> FiringRule:
        """Features that fire, and silent ones within the window, which move the threshold."""
        assert threshold is not None
        return FiringRule(floor=threshold - self.bandwidth / 2)

    def activate(self, pre: Tensor, threshold: Tensor | None) -> Tensor:
        """a = z · H(z − θ)."""
        assert threshold is not None
        return torch.where(pre > threshold, pre, 0)

    def backward(
        self, pre: Tensor, grad: Tensor, threshold: Tensor | None, n_tokens: int
    ) -> tuple[Tensor, Tensor | None]:
        """Straight-through gradients of the pre-activations and of log θ."""
        assert threshold is not None
        # |z − θ| < ε/2 is K((z − θ)/ε) = 1. The reconstruction contributes −(θ/ε) ∂loss/∂a, the penalty −(1/ε) l0/n.
        in_window = (pre - threshold).abs() < self.bandwidth / 2
        # The last factor θ is ∂θ/∂(log θ): the logarithm is learnt, so that θ stays positive.
        slope = (threshold * grad + self.l0 / n_tokens) * threshold / -self.bandwidth
        # No pre-activation gradient from the penalty: l0 counts features, and H is flat in z away from the jump.
        return torch.where(pre > threshold, grad, 0), torch.where(in_window, slope, 0)

    def scheduled(self, penalty_share: float, progress: float) -> Architecture:
        """A copy with l0 scaled by ``penalty_share``."""
        return replace(self, l0=self.l0 * penalty_share)

    def penalty(self, acts: Tensor, n_tokens: int) -> Tensor | float:
        """L0 penalty, summed in float64."""
        return self.l0 * (acts > 0).sum(dtype=torch.float64) / n_tokens

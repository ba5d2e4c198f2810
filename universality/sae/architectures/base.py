"""What the SAE architectures have in common: firing rules, the settings of the auxiliary loss, two base classes.

`Architecture` is the base of those whose backward pass is written by hand; `AutogradArchitecture` of those that give a
forward pass alone. Nothing here computes on batches: `universality.sae.compute` imports this folder, never the reverse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FiringRule:
    """Which pre-activations [n_tokens, d_sae] count: above a floor, then the largest of a token or of a batch."""

    floor: Tensor | None = None
    """[d_sae] or []: only pre-activations above it count; None stands for 0."""
    k: int | None = None
    """Keep at most the k largest of each token's remaining pre-activations."""
    total: int | None = None
    """Keep at most this many of the batch's remaining pre-activations, the largest of all tokens together."""


@dataclass(frozen=True)
class AuxK:
    """Settings of the auxiliary loss of Gao et al. (2024), `universality.sae.compute.auxiliary_loss`."""

    k: int
    """Dead features that fire on a token."""
    weight: float
    """Weight in the loss."""


@dataclass(frozen=True)
class Architecture:
    """An architecture: which features fire, what a firing costs, and how gradients pass through it.

    The trainer, `SAE` and every way of computing gradients use only the members below. The defaults are those of a
    plain ReLU without a penalty.
    """

    @property
    def adaptive(self) -> bool:
        """Whether the number of features that fire is free, so that sparse products may be slower than dense ones."""
        return False

    @property
    def has_threshold(self) -> bool:
        """Whether the trained SAE compares pre-activations with a threshold."""
        return False

    @property
    def initial_threshold(self) -> float | None:
        """Initial value of learnt thresholds, for activations of mean square 1; None if no threshold is learnt."""
        return None

    @property
    def aux(self) -> AuxK | None:
        """Settings of the auxiliary loss that revives dead features; None for no such loss."""
        return None

    def prefixes(self, d_sae: int) -> tuple[int, ...]:
        """Rising widths, the last one d_sae, each of which reconstructs on its own; the loss sums their errors."""
        return (d_sae,)

    def inference(self, threshold: Tensor | None) -> FiringRule:
        """Which features fire in the trained SAE, with its learnt or measured ``threshold`` [d_sae], if any."""
        return FiringRule()

    def training(self, threshold: Tensor | None, n_tokens: int) -> FiringRule:
        """Which pre-activations of a batch contribute to its loss or its gradient."""
        return self.inference(threshold)

    def activate(self, pre: Tensor, threshold: Tensor | None) -> Tensor:
        """Activations of the pre-activations that `training` selects (of all if `adaptive`), element by element."""
        return pre.relu()

    def backward(
        self, pre: Tensor, grad: Tensor, threshold: Tensor | None, n_tokens: int
    ) -> tuple[Tensor, Tensor | None]:
        """Pass ∂(squared error)/∂activation back to the pre-activations, element by element.

        Returns
        -------
        pre_grad : Tensor
            ∂loss/∂pre, the penalty included.
        threshold_grad : Tensor or None
            ∂loss/∂(log threshold); None if no threshold is learnt.
        """
        return torch.where(pre > 0, grad, 0), None

    def scheduled(self, penalty_share: float, progress: float) -> Architecture:
        """A copy for one step of training.

        Parameters
        ----------
        penalty_share
            Share of the penalty's weight that applies, which rises to 1 (`SAESpec.penalty_warmup_share`).
        progress
            Share of the training that is done, from 0 to below 1, for settings that are annealed.
        """
        return self

    def penalty(self, acts: Tensor, n_tokens: int) -> Tensor | float:
        """Penalty in the loss of a batch of n_tokens tokens, due to these activations."""
        return 0.0


@dataclass(frozen=True)
class ForwardPass:
    """What a penalty may depend on: the forward pass of some tokens of a batch, activations scaled as in training."""

    pre: Tensor
    """Pre-activations W_enc (x − b_dec) + b_enc [n_tokens, d_sae]."""
    acts: Tensor
    """Activations [n_tokens, d_sae], as `AutogradArchitecture.forward` returned them."""
    targets: Tensor
    """x − b_dec [n_tokens, d_in], which decoder rows must add up to."""
    decoder: Tensor
    """W_dec [d_sae, d_in]; no gradient passes into it from a penalty."""
    parameters: Mapping[str, Tensor]
    """The architecture's own parameters."""


@dataclass(frozen=True)
class AutogradArchitecture(Architecture):
    """An architecture given by its forward pass; autograd derives the backward pass.

    Products with encoder and decoder stay dense and written out; autograd sees the way from pre-activations to
    activations. All settings are fields of the dataclass: those named as in `SAESpec` (``k``, ``l1``, …) are taken from
    it, others need a default. See `universality.sae.register_architecture` for an example.
    """

    def parameters(self, d_sae: int) -> dict[str, Tensor]:
        """Initial values of the architecture's own parameters, each [d_sae, …] with one row a feature."""
        return {}

    def forward(self, pre: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Activations [n_tokens, d_sae] of at least 0 from pre-activations; each token by itself.

        A feature fires where its activation is positive. Called alike in training and in the trained SAE, on
        activations that are scaled to mean square 1 in both.
        """
        return pre.relu()

    def token_penalty(self, step: ForwardPass) -> Tensor | None:
        """Penalty of each token [n_tokens], averaged over tokens in the loss; None for no penalty."""
        return None

"""TopK: the k largest pre-activations of a token fire.

    a = ReLU(TopK_k(W_enc (x − b_dec) + b_enc)),    x̂ = W_decᵀ a + b_dec
    loss = mean squared error + aux_weight · AuxK (see `universality.sae.compute.auxiliary_loss`)

Gao et al. 2024, *Scaling and evaluating sparse autoencoders*. Ties are broken in favour of the lower index.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from universality.sae.architectures.base import Architecture, AuxK, FiringRule


@dataclass(frozen=True)
class TopK(Architecture):
    """The k largest of each token; the module states the equations."""

    k: int
    aux_k: int = 256
    aux_weight: float = 1 / 32

    @property
    def aux(self) -> AuxK | None:
        """AuxK, unless its weight is 0."""
        return AuxK(self.aux_k, self.aux_weight) if self.aux_weight else None

    def inference(self, threshold: Tensor | None) -> FiringRule:
        """The k largest of each token."""
        return FiringRule(k=self.k)

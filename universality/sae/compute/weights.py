"""The numbers that an SAE learns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Weights:
    """Weights in training, or their gradients. The encoder is held feature-major: a feature's row is contiguous."""

    W_enc: Tensor
    """[d_sae, d_in], the transpose of what is saved."""
    b_enc: Tensor
    """[d_sae]."""
    W_dec: Tensor
    """[d_sae, d_in]; rows have unit norm."""
    b_dec: Tensor
    """[d_in]."""
    log_threshold: Tensor | None = None
    """[d_sae], of architectures that learn a threshold; its logarithm, so that it stays positive."""

    def tensors(self) -> dict[str, Tensor]:
        """Name → tensor."""
        return {name: tensor for name, tensor in self.__dict__.items() if tensor is not None}

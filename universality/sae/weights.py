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

    def tensors(self) -> dict[str, Tensor]:
        """Name → tensor."""
        return dict(self.__dict__)

"""Normalisation of each token's activations before an SAE encodes them, and back.

- ``none``
- ``layer_norm``: y = (x − mean) / (std + 1e-5), with the standard deviation of n − 1; x̂ = ŷ · std + mean
- ``constant_norm_rescale``: y = x · √d_in / ‖x‖; x̂ = ŷ · ‖x‖ / √d_in

The names and equations are SAELens's; OpenAI's SAEs use the first of them, Llamascopium's ``token-wise`` the second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

NORMALISATIONS = ("none", "layer_norm", "constant_norm_rescale")


@dataclass(frozen=True)
class Normalisation:
    """Of some tokens: y = (x − shift) / divisor, x̂ = ŷ · size + shift; each [n_tokens, 1]."""

    shift: Tensor
    size: Tensor
    divisor: Tensor

    @classmethod
    def of(cls, x: Tensor, name: str) -> Normalisation:
        """By one of the names above but ``none``."""
        if name == "layer_norm":
            shift, size = x.mean(dim=1, keepdim=True), x.std(dim=1, keepdim=True)
            return cls(shift, size, size + 1e-5)
        size = x.norm(dim=1, keepdim=True) / math.sqrt(x.shape[1])
        return cls(torch.zeros_like(size), size, size.clamp_min(torch.finfo(x.dtype).tiny))

    def apply(self, x: Tensor) -> Tensor:
        """What the SAE encodes."""
        return (x - self.shift) / self.divisor

    def undo(self, y: Tensor) -> Tensor:
        """Reconstructions in the activations' own units."""
        return y * self.size + self.shift


def normalised(x: Tensor, name: str) -> Tensor:
    """Activations [n_tokens, d_in] as an SAE with this ``normalize_activations`` sees them."""
    return x if name == "none" else Normalisation.of(x, name).apply(x)

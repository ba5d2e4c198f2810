"""Normalisation of each token's activations before an SAE encodes them, and its inverse.

- ``none``
- ``layer_norm``: y = (x − mean) / (std + 1e-5), with the unbiased standard deviation; x̂ = ŷ · std + mean
- ``constant_norm_rescale``: y = x · √d_in / ‖x‖; x̂ = ŷ · ‖x‖ / √d_in

Names and equations are those of SAELens. OpenAI's SAEs use ``layer_norm``; Llamascopium's ``token-wise`` is
``constant_norm_rescale``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

NORMALISATIONS = ("none", "layer_norm", "constant_norm_rescale")


@dataclass(frozen=True)
class Normalisation:
    """Shifts and sizes [n_tokens, 1] of some tokens: y = (x − shift) / divisor, x̂ = ŷ · size + shift."""

    shift: Tensor
    size: Tensor
    divisor: Tensor

    @classmethod
    def of(cls, x: Tensor, name: str) -> Normalisation:
        """Measure tokens x [n_tokens, d_in]; ``name`` is one of the above other than ``none``."""
        if name == "layer_norm":
            shift, size = x.mean(dim=1, keepdim=True), x.std(dim=1, keepdim=True)
            return cls(shift, size, size + 1e-5)  # as SAELens: encoding divides by it, decoding does not multiply by it
        size = x.norm(dim=1, keepdim=True) / math.sqrt(x.shape[1])
        return cls(torch.zeros_like(size), size, size.clamp_min(torch.finfo(x.dtype).tiny))

    def apply(self, x: Tensor) -> Tensor:
        """Normalise activations, as the SAE encodes them."""
        return (x - self.shift) / self.divisor

    def undo(self, y: Tensor) -> Tensor:
        """Convert reconstructions back to the activations' own units."""
        return y * self.size + self.shift


def normalised(x: Tensor, name: str) -> Tensor:
    """Activations [n_tokens, d_in] as an SAE with this ``normalize_activations`` encodes them."""
    return x if name == "none" else Normalisation.of(x, name).apply(x)

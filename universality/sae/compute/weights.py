"""The parameters that an SAE learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from universality.errors import ModelError
from universality.sae.architectures.base import Architecture, AutogradArchitecture


@dataclass(frozen=True)
class Weights:
    """Parameters in training, or their gradients."""

    W_enc: Tensor
    """[d_sae, d_in], the transpose of what is saved: a feature's row is contiguous."""
    b_enc: Tensor
    """[d_sae]."""
    W_dec: Tensor
    """[d_sae, d_in]; rows have unit norm."""
    b_dec: Tensor
    """[d_in]."""
    log_threshold: Tensor | None = None
    """[d_sae], for architectures that learn a threshold; its logarithm, so that it stays positive."""
    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    """Own parameters of a registered architecture, each [d_sae, …]."""

    def tensors(self) -> dict[str, Tensor]:
        """All parameters by name."""
        tensors = {name: getattr(self, name) for name in NAMES}
        return {name: tensor for name, tensor in tensors.items() if tensor is not None} | dict(self.parameters)


NAMES = ("W_enc", "b_enc", "W_dec", "b_dec", "log_threshold")


def own_parameters(architecture: Architecture, d_sae: int) -> dict[str, Tensor]:
    """Initial values of an architecture's own parameters, float32.

    Raises
    ------
    ModelError
        If a name is that of another tensor, or a parameter does not have one row a feature.
    """
    if not isinstance(architecture, AutogradArchitecture):
        return {}
    parameters = architecture.parameters(d_sae)
    for name, value in parameters.items():
        if name in (*NAMES, "threshold") or value.ndim < 1 or len(value) != d_sae:
            raise ModelError(
                f"parameters of {type(architecture).__name__} need a name other than {', '.join(NAMES)} and threshold, "
                f"and shape [d_sae = {d_sae}, …]; found {name} of shape {list(value.shape)}"
            )
    return {name: value.detach().to(torch.float32).clone() for name, value in parameters.items()}

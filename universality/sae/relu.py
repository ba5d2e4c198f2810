"""ReLU with an L1 penalty.

    a = ReLU(W_enc (x − b_dec) + b_enc),    x̂ = W_decᵀ a + b_dec
    loss = mean squared error + l1 · (sum of a token's activations, averaged over tokens)

Bricken et al. 2023, *Towards Monosemanticity*. Without a pre-encoder bias: a = ReLU(W_enc x + b_enc).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from universality.sae import kernels
from universality.sae.codes import Codes
from universality.sae.products import linear
from universality.sae.step import Batch, Step, dense_step, sparse_step
from universality.sae.weights import Weights

PROBE_TOKENS = 64
SPARSE_BELOW = 1 / 16  # share of features that fire; both ways cost the same at about this


@dataclass(frozen=True)
class ReLU:
    """The architecture; see the module for its equations."""

    l1: float = 0.0

    def activate(self, pre: Tensor) -> Tensor:
        """Activations of pre-activations, both [n_tokens, d_sae]."""
        return pre.relu()

    def select(self, pre: Tensor) -> Codes:
        """The same as (indices, values), on a CPU."""
        if pre.dtype == torch.bfloat16:
            pre = pre.float()
        array = pre.contiguous().numpy()
        n_tokens, d_sae = array.shape
        bounds = np.zeros(n_tokens + 1, np.int64)
        kernels.count_positive(array, bounds[1:])
        np.cumsum(bounds, out=bounds)
        indices, values = np.empty(bounds[-1] + 1, np.int32), np.empty(bounds[-1] + 1, array.dtype)
        kernels.select_positive(array, bounds[:-1], indices, values)
        return Codes(bounds[:-1], bounds[1:], indices[:-1], values[:-1], d_sae)

    def _is_sparse(self, weights: Weights, batch: Batch) -> bool:
        """Whether so few features fire that (indices, values) are faster, judged by the first tokens."""
        if batch.inputs.device.type != "cpu":
            return False
        pre = linear(batch.inputs[:PROBE_TOKENS], weights.W_enc, weights.b_enc)
        return int((pre > 0).sum()) < SPARSE_BELOW * pre.numel()

    def step(
        self, weights: Weights, batch: Batch, dead: Tensor, products: torch.dtype, apply_b_dec_to_input: bool
    ) -> tuple[Step, Tensor | float]:
        """Gradients of the loss; there is no auxiliary one."""
        options: dict[str, Any] = {
            "l1": self.l1, "products": products, "apply_b_dec_to_input": apply_b_dec_to_input
        }  # fmt: skip
        if self._is_sparse(weights, batch):
            return sparse_step(weights, batch, self.select, **options), 0.0
        return dense_step(weights, batch, self.activate, **options), 0.0

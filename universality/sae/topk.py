"""TopK: the k largest pre-activations fire.

    a = ReLU(TopK_k(W_enc (x − b_dec) + b_enc)),    x̂ = W_decᵀ a + b_dec
    loss = mean squared error + aux_weight · AuxK

AuxK: the ``aux_k`` largest pre-activations among the dead features, ReLU'd, reconstruct what the living leave
over, e = x − x̂ (held fixed): AuxK = Σ_t ‖e_t − W_decᵀ a_dead‖² / Σ_t ‖e_t‖².

Gao et al. 2024, *Scaling and evaluating sparse autoencoders*. Of equal pre-activations the first fires.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.sae import kernels
from universality.sae.codes import Codes
from universality.sae.products import linear, matmul
from universality.sae.step import Batch, Step, dense_step, sparse_step
from universality.sae.weights import Weights

_KEYS = {torch.float32: torch.int32, torch.float64: torch.int64, torch.bfloat16: torch.int16}


@dataclass(frozen=True)
class TopK:
    """The architecture; see the module for its equations."""

    k: int
    aux_k: int = 256
    aux_weight: float = 1 / 32

    def activate(self, pre: Tensor) -> Tensor:
        """Activations of pre-activations, both [n_tokens, d_sae], by stock operators."""
        values, indices = pre.topk(self.k, dim=-1, sorted=False)
        return torch.zeros_like(pre).scatter(-1, indices, values.relu())

    def select(self, pre: Tensor) -> Codes:
        """The same as (indices, values), on a CPU: values in float32, or float64 for such pre-activations."""
        n_tokens, d_sae = pre.shape
        keys = pre.contiguous().view(_KEYS[pre.dtype]).numpy()
        start, stop = np.empty(n_tokens, np.int64), np.empty(n_tokens, np.int64)
        indices = np.empty(n_tokens * self.k, np.int32)
        values: NDArray[np.floating] = np.empty(
            n_tokens * self.k, np.float64 if pre.dtype == torch.float64 else np.float32
        )
        shift = 16 if pre.dtype == torch.bfloat16 else 0
        bits = values.view(np.int64 if values.itemsize == 8 else np.int32)
        kernels.select_largest(keys, self.k, shift, start, stop, indices, bits)
        return Codes(start, stop, indices, values, d_sae)

    def _densely(self, pre: Tensor) -> Tensor:
        """`activate` where derivatives are not needed; on a CPU by the faster selection."""
        if pre.device.type != "cpu":
            return self.activate(pre)
        return torch.from_numpy(self.select(pre).csr().toarray())

    def step(
        self, weights: Weights, batch: Batch, dead: Tensor, products: torch.dtype, apply_b_dec_to_input: bool
    ) -> tuple[Step, Tensor | float]:
        """Gradients of the loss, and AuxK's value.

        Parameters
        ----------
        dead : int64 [n_dead]
            The dead features.
        """
        keep = dead if len(dead) and self.aux_weight else None
        if batch.inputs.device.type == "cpu":
            step = sparse_step(
                weights, batch, self.select, products=products, keep=keep, apply_b_dec_to_input=apply_b_dec_to_input
            )
        else:
            step = dense_step(
                weights, batch, self.activate, products=products, keep=keep, apply_b_dec_to_input=apply_b_dec_to_input
            )
        if step.kept is None:
            return step, 0.0
        return step, self._add_aux(step, weights, batch, dead, apply_b_dec_to_input)

    def _add_aux(self, step: Step, weights: Weights, batch: Batch, dead: Tensor, pre_bias: bool) -> Tensor:
        """Add AuxK's gradients to the step's; dense products with the dead features alone."""
        assert step.kept is not None
        acts = step.kept.relu() if len(dead) <= self.aux_k else TopK(self.aux_k)._densely(step.kept)
        decoder = weights.W_dec[dead]
        n_tokens, d_in = batch.inputs.shape
        leftover = step.output_grad * (-n_tokens * d_in / 2)
        energy = leftover.square().sum().clamp_min(torch.finfo(leftover.dtype).tiny)
        grad = matmul(acts, decoder).sub_(leftover)
        loss = grad.square().sum() / energy
        grad.mul_(2 * self.aux_weight / energy)
        value_grad = linear(grad, decoder).mul_(acts > 0)
        b_enc = value_grad.sum(dim=0)
        gradients = step.gradients
        gradients.W_dec.index_add_(0, dead, matmul(acts.T, grad))
        gradients.W_enc.index_add_(0, dead, matmul(value_grad.T, batch.inputs))
        gradients.b_enc.index_add_(0, dead, b_enc)
        if pre_bias:
            gradients.b_dec.sub_(b_enc @ weights.W_enc[dead])
        return loss

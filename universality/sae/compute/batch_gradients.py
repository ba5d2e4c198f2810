"""Loss and gradients of one batch, written out.

    x̂ = Σ_f a_f W_dec[f] + b_dec,    z = W_enc (x − b_dec) + b_enc,    a = activation(z)
    loss = Σ_w Σ_t ‖x̂_tw − x_t‖² / (n_tokens d_in) + penalty(a)

where x̂_w is the reconstruction by the first w features, for each prefix w of the architecture; d_sae is always one,
and most have no other. With g_f = the sum of ∂loss/∂x̂_w over prefixes that hold f, and h = ∂loss/∂z:

    ∂W_dec[f] = Σ_t a_tf g_tf,  ∂W_enc = hᵀ (x − b_dec),  ∂b_enc = Σ_t h,  ∂b_dec = Σ_t g_t0 − W_encᵀ ∂b_enc

Without a pre-encoder bias the encoder sees x, and ∂b_dec = Σ_t g_t0.

The two large gradients never stand whole unless asked for (`Step.gradients`): the trainer takes the rows of a few
features at a time and lets Adam use them at once. At width 131,072 that is a quarter of the memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from universality.sae.compute.weights import Weights

FEATURES_A_TASK = 256  # the rows of a task stay in the cache between gradient and Adam

Rows = Callable[[slice, Tensor, Tensor], None]
"""Adds the gradients of the features of a slice to two buffers [n_features, d_in], of W_enc and of W_dec."""


@dataclass(frozen=True)
class Batch:
    """A batch as the encoder and the decoder see it."""

    inputs: Tensor
    """[n_tokens, d_in], what the encoder multiplies: x − b_dec, or x without a pre-encoder bias."""
    targets: Tensor
    """[n_tokens, d_in], what the decoder rows must add up to: x − b_dec."""
    pre_bias: bool
    """Whether there is a pre-encoder bias."""

    @staticmethod
    def of(x: Tensor, b_dec: Tensor, apply_b_dec_to_input: bool) -> Batch:
        """Split scaled activations x [n_tokens, d_in]."""
        centred = x - b_dec
        return Batch(centred if apply_b_dec_to_input else x, centred, apply_b_dec_to_input)

    @property
    def error_factor(self) -> float:
        """∂loss/∂x̂ = this · (x̂ − x)."""
        return 2 / self.inputs.numel()


@dataclass(frozen=True)
class Step:
    """What one batch says about the weights."""

    rows: tuple[Rows, ...]
    """Together the gradients of W_enc and W_dec."""
    b_enc: Tensor
    """Gradient [d_sae]."""
    b_dec: Tensor
    """Gradient [d_in]."""
    log_threshold: Tensor | None
    """Gradient [d_sae], where there is one."""
    squared_error: float | Tensor
    """Σ_t ‖x̂_t − x_t‖² of the whole reconstruction."""
    loss: float | Tensor
    """Squared errors over all prefixes, divided by n_tokens d_in, and the penalty; without the auxiliary loss."""
    firings: Tensor
    """Tokens on which each feature fired [d_sae], int64."""
    output_grad: Tensor
    """∂(its squared error, divided by n_tokens d_in)/∂x̂ of the whole reconstruction [n_tokens, d_in]."""
    lowest: float | Tensor | None = None
    """The smallest activation that fired, where the batch decides what fires."""
    auxiliary: float | Tensor = 0.0
    """Value of the auxiliary loss."""

    def rows_of(self, part: slice, like: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of W_enc and W_dec for the features of a slice, in two new tensors."""
        shape = (part.stop - part.start, like.shape[1])
        encoder, decoder = like.new_zeros(shape), like.new_zeros(shape)
        for add in self.rows:
            add(part, encoder, decoder)
        return encoder, decoder

    def gradients(self, weights: Weights) -> Weights:
        """All of them, whole."""
        encoder, decoder = self.rows_of(slice(0, len(weights.W_dec)), weights.W_dec)
        return Weights(encoder, self.b_enc, decoder, self.b_dec, self.log_threshold)


def decoder_bias(batch: Batch, output_grad: Tensor, b_enc: Tensor, encoder: Tensor) -> Tensor:
    """Gradient of b_dec [d_in] from ∂loss/∂x̂ [n_tokens, d_in] and the gradient of b_enc."""
    whole = output_grad.sum(dim=0)
    return whole - b_enc @ encoder if batch.pre_bias else whole


def matching(part: slice, index: Tensor) -> slice:
    """Where the features of a slice stand in a rising index."""
    ends = torch.searchsorted(index, torch.tensor([part.start, part.stop], device=index.device))
    return slice(*ends.tolist())

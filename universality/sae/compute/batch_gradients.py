"""Loss and gradients of one batch, written out.

    x̂ = Σ_f a_f W_dec[f] + b_dec,    z = W_enc (x − b_dec) + b_enc,    a = activation(z)
    loss = Σ_w Σ_t ‖x̂_tw − x_t‖² / (n_tokens d_in) + penalty(a)

where x̂_w is the reconstruction by the first w features, for each prefix w of the architecture. d_sae is always one of
them, and for most architectures the only one. With g_f the sum of ∂loss/∂x̂_w over prefixes that contain f, and
h = ∂loss/∂z:

    ∂W_dec[f] = Σ_t a_tf g_tf,  ∂W_enc = hᵀ (x − b_dec),  ∂b_enc = Σ_t h,  ∂b_dec = Σ_t g_t0 − W_encᵀ ∂b_enc

b_dec occurs twice: it is added to every reconstruction, and subtracted from the encoder's input. Without a pre-encoder
bias the encoder sees x, and ∂b_dec = Σ_t g_t0.

The two large gradients are never held whole unless asked for (`Step.gradients`): the trainer takes the rows of a few
features at a time and passes them to Adam at once. At width 131,072 that takes a quarter of the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from universality.sae.compute.weights import Weights

FEATURES_A_TASK = 256  # at d_in 512 the gradient rows of a task, 1 MB, stay in the cache until Adam reads them

Rows = Callable[[slice, Tensor, Tensor], None]
"""Adds gradients of W_enc and W_dec to two buffers [n_features, d_in], for a slice of features."""


@dataclass(frozen=True)
class Batch:
    """Inputs of the encoder and targets of the decoder for one batch."""

    inputs: Tensor
    """[n_tokens, d_in], the encoder's input: x − b_dec, or x without a pre-encoder bias."""
    targets: Tensor
    """[n_tokens, d_in], which decoder rows must add up to: x − b_dec."""
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
    """Gradients and statistics of one batch."""

    rows: tuple[Rows, ...]
    """Contributions to the gradients of W_enc and W_dec, which add up."""
    b_enc: Tensor
    """Gradient [d_sae]."""
    b_dec: Tensor
    """Gradient [d_in]."""
    log_threshold: Tensor | None
    """Gradient [d_sae]; None if no threshold is learnt."""
    squared_error: float | Tensor
    """Σ_t ‖x̂_t − x_t‖² of the full reconstruction."""
    loss: float | Tensor
    """Squared errors of all prefixes divided by n_tokens d_in, plus the penalty; without the auxiliary loss."""
    firings: Tensor
    """Tokens on which each feature fired [d_sae], int64."""
    output_grad: Tensor
    """∂(squared error / (n_tokens d_in))/∂x̂ of the full reconstruction [n_tokens, d_in]."""
    lowest: float | Tensor | None = None
    """The smallest activation that fired; None unless the batch decides which features fire."""
    auxiliary: float | Tensor = 0.0
    """Value of the auxiliary loss."""
    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    """Gradients of a registered architecture's own parameters."""

    def rows_of(self, part: slice, like: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of W_enc and W_dec for a slice of features, in two new tensors."""
        shape = (part.stop - part.start, like.shape[1])
        encoder, decoder = like.new_zeros(shape), like.new_zeros(shape)
        for add in self.rows:
            add(part, encoder, decoder)
        return encoder, decoder

    def gradients(self, weights: Weights) -> Weights:
        """All gradients, whole."""
        encoder, decoder = self.rows_of(slice(0, len(weights.W_dec)), weights.W_dec)
        return Weights(encoder, self.b_enc, decoder, self.b_dec, self.log_threshold, self.parameters)


def decoder_bias(batch: Batch, output_grad: Tensor, b_enc: Tensor, encoder: Tensor) -> Tensor:
    """Gradient of b_dec [d_in] from ∂loss/∂x̂ [n_tokens, d_in] and the gradient of b_enc."""
    direct = output_grad.sum(dim=0)
    # Through the encoder: ∂z/∂b_dec = −W_enc, and Σ_t h_t is the gradient of b_enc.
    return direct - b_enc @ encoder if batch.pre_bias else direct


def positions_in(part: slice, index: Tensor) -> slice:
    """Positions, in a rising index of features, of those that lie in a slice."""
    ends = torch.searchsorted(index, torch.tensor([part.start, part.stop], device=index.device))
    return slice(*ends.tolist())

"""Loss and gradients of one batch, written out: by (indices, values) on a CPU, dense elsewhere.

    x̂ = Σ_f a_f W_dec[f] + b_dec,    a = activation(W_enc (x − b_dec) + b_enc)
    loss = Σ_t ‖x̂_t − x_t‖² / (n_tokens d_in) + l1 Σ_t Σ_f a_tf / n_tokens

With g = ∂loss/∂x̂ and h = (∂loss/∂a) where a > 0, else 0:

    ∂W_dec = aᵀ g,  ∂W_enc = hᵀ (x − b_dec),  ∂b_enc = Σ_t h,  ∂b_dec = Σ_t g − W_encᵀ ∂b_enc

Without a pre-encoder bias the encoder sees x, and ∂b_dec = Σ_t g.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.sae import kernels
from universality.sae.codes import Codes
from universality.sae.products import linear, matmul
from universality.sae.weights import Weights
from universality.sae.workers import ranges, share_out

TOKENS_A_TASK = 512  # 512 × 2,048 pre-activations are 2 MB (bfloat16) or 4 MB and stay in the cache
FEATURES_A_TASK = 256


@dataclass(frozen=True)
class Batch:
    """A batch as the encoder and the decoder see it."""

    inputs: Tensor
    """[n_tokens, d_in], what the encoder multiplies: x − b_dec, or x without a pre-encoder bias."""
    targets: Tensor
    """[n_tokens, d_in], what the decoder rows must add up to: x − b_dec."""

    @staticmethod
    def of(x: Tensor, b_dec: Tensor, apply_b_dec_to_input: bool) -> Batch:
        """Split scaled activations x [n_tokens, d_in]."""
        centred = x - b_dec
        return Batch(centred if apply_b_dec_to_input else x, centred)


@dataclass(frozen=True)
class Step:
    """What one batch says about the weights."""

    gradients: Weights
    squared_error: float | Tensor
    """Σ_t ‖x̂_t − x_t‖²."""
    activation_sum: float | Tensor
    """Σ_t Σ_f a_tf."""
    firings: Tensor
    """Tokens on which each feature fired [d_sae], int64."""
    output_grad: Tensor
    """g [n_tokens, d_in]."""
    kept: Tensor | None
    """Pre-activations [n_tokens, n_kept] of the features that the caller asked for."""


def sparse_step(
    weights: Weights,
    batch: Batch,
    select: Callable[[Tensor], Codes],
    *,
    l1: float = 0.0,
    products: torch.dtype = torch.float32,
    keep: Tensor | None = None,
    apply_b_dec_to_input: bool = True,
) -> Step:
    """Gradients where few features fire: one dense product, everything behind it sparse. CPU only.

    Parameters
    ----------
    select
        Sparse activations of pre-activations [n, d_sae].
    products
        Number format of the encoder's product.
    keep : int64 [n_kept]
        Features whose pre-activations to return.
    """
    n_tokens, d_in = batch.inputs.shape
    encoder, bias = weights.W_enc.to(products), weights.b_enc.to(products)
    decoder = weights.W_dec.numpy()
    output_grad = torch.empty_like(batch.targets)
    factor = output_grad.numpy().dtype.type(2 / (n_tokens * d_in))

    def forward(part: slice) -> tuple[Codes, NDArray[np.floating], float, Tensor | None]:
        pre = linear(batch.inputs[part].to(products), encoder, bias)
        codes = select(pre)
        value_grad = np.zeros_like(codes.values)
        error = kernels.reconstruct(
            codes.start, codes.stop, codes.indices, codes.values, decoder,
            batch.targets[part].numpy(), factor, output_grad[part].numpy(), value_grad,
        )  # fmt: skip
        return codes, value_grad, error, None if keep is None else pre[:, keep].to(output_grad.dtype)

    parts = share_out(forward, ranges(n_tokens, TOKENS_A_TASK))
    codes = Codes.concatenate([part[0] for part in parts])
    value_grad = np.concatenate([part[1] for part in parts])
    value_grad += value_grad.dtype.type(l1 / n_tokens)
    first, gradients = _weight_gradients(codes, value_grad, output_grad, batch.inputs)
    gradients.b_dec.copy_(output_grad.sum(dim=0))
    if apply_b_dec_to_input:
        gradients.b_dec.sub_(gradients.b_enc @ weights.W_enc)
    return Step(
        gradients=gradients,
        squared_error=sum(part[2] for part in parts),
        activation_sum=float(codes.values.sum(dtype=np.float64)) if l1 else 0.0,
        firings=torch.from_numpy(np.diff(first)),
        output_grad=output_grad,
        kept=None if keep is None else torch.cat([part[3] for part in parts if part[3] is not None]),
    )


def _weight_gradients(
    codes: Codes, value_grad: NDArray[np.floating], output_grad: Tensor, inputs: Tensor
) -> tuple[NDArray[np.int64], Weights]:
    """Feature-major sums; also where each feature's tokens begin [d_sae + 1]."""
    d_sae, d_in = codes.d_sae, inputs.shape[1]
    first = np.empty(d_sae + 1, np.int64)
    token, entry = np.empty(len(codes.indices), np.int32), np.empty(len(codes.indices), np.int64)
    kernels.by_feature(codes.start, codes.stop, codes.indices, first, token, entry)
    gradients = Weights(
        W_enc=inputs.new_empty(d_sae, d_in),
        b_enc=inputs.new_empty(d_sae),
        W_dec=inputs.new_empty(d_sae, d_in),
        b_dec=inputs.new_empty(d_in),
    )
    arrays = {name: tensor.numpy() for name, tensor in gradients.tensors().items()}
    grad_rows, input_rows = output_grad.numpy(), inputs.numpy()

    def backward(part: slice) -> None:
        low, high = part.start, part.stop
        kernels.weighted_sums(low, high, first, token, entry, codes.values, grad_rows, arrays["W_dec"])
        kernels.weighted_sums(low, high, first, token, entry, value_grad, input_rows, arrays["W_enc"])
        kernels.sums(low, high, first, entry, value_grad, arrays["b_enc"])

    share_out(backward, ranges(d_sae, FEATURES_A_TASK))
    return first, gradients


def dense_step(
    weights: Weights,
    batch: Batch,
    activate: Callable[[Tensor], Tensor],
    *,
    l1: float = 0.0,
    products: torch.dtype = torch.float32,
    keep: Tensor | None = None,
    apply_b_dec_to_input: bool = True,
) -> Step:
    """The same by five dense products: on a GPU, and where many features fire.

    Parameters
    ----------
    activate
        Activations of pre-activations, both [n_tokens, d_sae]; its derivative is 1 where it is positive.
    """
    n_tokens, d_in = batch.inputs.shape
    dtype = batch.inputs.dtype
    inputs, encoder, decoder = (t.to(products) for t in (batch.inputs, weights.W_enc, weights.W_dec))
    pre = linear(inputs, encoder, weights.b_enc.to(products)).to(dtype)
    acts = activate(pre)
    output_grad = matmul(acts.to(products), decoder).to(dtype).sub_(batch.targets)
    squared_error = output_grad.square().sum(dtype=torch.float64)
    output_grad.mul_(2 / (n_tokens * d_in))
    value_grad = linear(output_grad.to(products), decoder).to(dtype).add_(l1 / n_tokens)
    value_grad = torch.where(acts > 0, value_grad, 0)
    b_enc = value_grad.sum(dim=0)
    b_dec = output_grad.sum(dim=0)
    return Step(
        gradients=Weights(
            W_enc=matmul(value_grad.to(products).T, inputs).to(dtype),
            b_enc=b_enc,
            W_dec=matmul(acts.to(products).T, output_grad.to(products)).to(dtype),
            b_dec=b_dec - b_enc @ weights.W_enc if apply_b_dec_to_input else b_dec,
        ),
        squared_error=squared_error,
        activation_sum=acts.sum(dtype=torch.float64),
        firings=(acts > 0).sum(dim=0),
        output_grad=output_grad,
        kept=None if keep is None else pre[:, keep],
    )

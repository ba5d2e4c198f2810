"""The decoder by (indices, values): reconstruction, and the gradients of W_enc and W_dec by feature. On a CPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from universality.sae.compute import sparse_kernels as kernels
from universality.sae.compute.batch_gradients import FEATURES_A_TASK
from universality.sae.compute.codes import Codes
from universality.sae.compute.weights import Weights
from universality.sae.compute.workers import ranges, share_out

TOKENS_A_TASK = 512


@dataclass(frozen=True)
class Decoded:
    """Result of the sparse decoder's forward and backward pass."""

    output_grad: Tensor
    """[n_prefixes, n_tokens, d_in], see `kernels.reconstruct`."""
    value_grad: NDArray[np.floating]
    """∂loss/∂activation of each entry of the codes."""
    squared_errors: NDArray[np.float64]
    """[n_prefixes]."""
    prefixes: tuple[int, ...]


def decode(
    codes: Codes,
    values: NDArray[np.floating],
    weights: Weights,
    targets: Tensor,
    prefixes: tuple[int, ...],
    factor: float | Tensor,
) -> Decoded:
    """Reconstruct, and pass the squared error back to the activations.

    Parameters
    ----------
    values
        Activations of the codes' entries, which may differ from the codes' own values.
    targets : [n_tokens, d_in]
        Sums that the decoder rows must add up to.
    factor
        ∂loss/∂x̂ = this · (x̂ − target).
    """
    decoder, widths = weights.W_dec.numpy(), np.array(prefixes)
    output_grad = targets.new_empty(len(prefixes), *targets.shape)
    value_grad = np.zeros_like(values)
    scale = output_grad.numpy().dtype.type(factor)

    def fill(part: slice) -> NDArray[np.float64]:
        errors = np.zeros(len(prefixes))
        kernels.reconstruct(
            codes.start[part], codes.stop[part], codes.indices, values, decoder,
            targets[part].numpy(), widths, scale, output_grad[:, part].numpy(), value_grad, errors,
        )  # fmt: skip
        return errors

    errors = share_out(fill, ranges(len(targets), TOKENS_A_TASK))
    return Decoded(output_grad, value_grad, np.sum(errors, axis=0), prefixes)


@dataclass(frozen=True)
class FeatureOrder:
    """Codes by feature: f fires on ``token[first[f]:first[f + 1]]``, its entries in the codes are ``entry[...]``."""

    first: NDArray[np.int64]
    token: NDArray[np.int32]
    entry: NDArray[np.int64]

    @staticmethod
    def of(codes: Codes) -> FeatureOrder:
        """Sort the entries of codes by feature; tokens stay in order."""
        n = len(codes.indices)
        order = FeatureOrder(np.empty(codes.d_sae + 1, np.int64), np.empty(n, np.int32), np.empty(n, np.int64))
        kernels.by_feature(codes.start, codes.stop, codes.indices, order.first, order.token, order.entry)
        return order

    def sums(self, weight: Tensor) -> Tensor:
        """Sum of a weight over each feature's entries [d_sae]."""
        out = weight.new_empty(len(self.first) - 1)
        array, target = weight.numpy(), out.numpy()

        def fill(part: slice) -> None:
            kernels.sums(part.start, part.stop, self.first, self.entry, array, target)

        share_out(fill, ranges(len(target), 16 * FEATURES_A_TASK))
        return out


@dataclass(frozen=True)
class SparseRows:
    """Computes the gradients of W_enc and W_dec for a slice of features when called."""

    order: FeatureOrder
    values: NDArray[np.floating]
    value_grad: NDArray[np.floating]
    output_grad: Tensor
    inputs: Tensor
    prefixes: tuple[int, ...]

    def __call__(self, part: slice, encoder_grad: Tensor, decoder_grad: Tensor) -> None:
        order, low = self.order, part.start
        args = order.first, order.token, order.entry
        kernels.weighted_sums(low, part.stop, *args, self.value_grad, self.inputs.numpy(), encoder_grad.numpy())
        for width, grad in zip(self.prefixes, self.output_grad, strict=True):
            high = min(width, part.stop)
            if high > low:
                target = decoder_grad[low - part.start : high - part.start].numpy()
                kernels.weighted_sums(low, high, *args, self.values, grad.numpy(), target)
                low = high  # later prefixes contribute through their gradients, which are cumulative

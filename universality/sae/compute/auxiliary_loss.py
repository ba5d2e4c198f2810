"""AuxK: dead features learn to reconstruct what the living leave over.

    e_t = x_t − x̂_t (held fixed),    AuxK = Σ_t ‖e_t − Σ_f a'_tf W_dec[f]‖² / Σ_t ‖e_t‖²

where a' are the ``k`` largest pre-activations of a token among the dead features, ReLU'd. Gao et al. 2024, *Scaling and
evaluating sparse autoencoders*. Shared by TopK, BatchTopK and Matryoshka.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from universality.sae.compute.batch_gradients import Batch, Rows, matching
from universality.sae.compute.products import linear, matmul
from universality.sae.compute.selection import largest
from universality.sae.compute.weights import Weights
from universality.sae.compute.workers import ranges, share_out

TOKENS_A_TASK = 512
DENSE_UP_TO = 4
"""Times k dead features: dense products are faster up to about this."""


@dataclass(frozen=True)
class AuxK:
    """The loss's settings."""

    k: int
    """Dead features a token."""
    weight: float
    """Of the loss."""

    def is_dense(self, n_dead: int) -> bool:
        """Whether dense products with the dead features are the faster way."""
        return n_dead <= DENSE_UP_TO * self.k


@dataclass(frozen=True)
class Auxiliary:
    """What AuxK adds to a step."""

    loss: Tensor | float
    """Its value, before its weight."""
    b_enc: Tensor
    """Gradient [n_dead] of the dead features' biases."""
    rows: Rows
    """Gradients of the dead features' rows."""


def leftover_of(batch: Batch, output_grad: Tensor) -> tuple[Tensor, Tensor]:
    """e [n_tokens, d_in] from ∂loss/∂x̂, and Σ_t ‖e_t‖² bounded away from 0."""
    leftover = output_grad * (-1 / batch.error_factor)
    return leftover, leftover.square().sum().clamp_min(torch.finfo(leftover.dtype).tiny)


def dense_auxiliary(
    aux: AuxK, weights: Weights, batch: Batch, dead: Tensor, pre: Tensor, leftover: Tensor, energy: Tensor
) -> Auxiliary:
    """By dense products with the dead features alone.

    Parameters
    ----------
    dead : int64 [n_dead]
        Rising.
    pre : [n_tokens, n_dead]
        Their pre-activations.
    leftover, energy
        As `leftover_of` gives them.
    """
    acts = _largest_densely(pre, aux.k)
    decoder = weights.W_dec[dead]
    grad, value_grad = torch.empty_like(leftover), torch.empty_like(acts)
    factor = 2 * aux.weight / energy

    def fill(part: slice) -> Tensor:
        short = matmul(acts[part], decoder).sub_(leftover[part])
        grad[part] = short * factor
        value_grad[part] = linear(grad[part], decoder).mul_(acts[part] > 0)
        return short.square().sum()

    tasks = ranges(len(acts), TOKENS_A_TASK if acts.device.type == "cpu" else len(acts))
    loss = torch.stack(share_out(fill, tasks)).sum() / energy

    def add(part: slice, encoder_grad: Tensor, decoder_grad: Tensor) -> None:
        here = matching(part, dead)
        if here.start == here.stop:
            return
        at = dead[here] - part.start
        decoder_grad.index_add_(0, at, matmul(acts[:, here].T, grad))
        encoder_grad.index_add_(0, at, matmul(value_grad[:, here].T, batch.inputs))

    return Auxiliary(loss, value_grad.sum(dim=0), add)


def _largest_densely(pre: Tensor, k: int) -> Tensor:
    """The k largest positive entries of each row, the others 0; on a CPU by the faster selection."""
    if pre.shape[1] <= k:
        return pre.relu()
    if pre.device.type == "cpu":
        return torch.from_numpy(largest(pre, k).csr().toarray())
    values, indices = pre.topk(k, dim=-1, sorted=False)
    return torch.zeros_like(pre).scatter(-1, indices, values.relu())

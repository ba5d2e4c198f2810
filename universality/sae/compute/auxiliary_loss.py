"""AuxK: dead features learn to reconstruct the error that the living ones leave.

    e_t = x_t − x̂_t (held fixed),    AuxK = Σ_t ‖e_t − Σ_f a'_tf W_dec[f]‖² / Σ_t ‖e_t‖²

where a' are the ``k`` largest pre-activations of a token among the dead features, ReLU'd. Gao et al. 2024, *Scaling and
evaluating sparse autoencoders*. Shared by TopK, BatchTopK and Matryoshka.

The error is held fixed, so AuxK changes dead features alone: living ones must not learn to leave errors that are easy
for dead ones. Divided by Σ_t ‖e_t‖² it is about 1 whenever the dead features explain nothing, at any stage of training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from universality.sae.architectures.base import AuxK
from universality.sae.compute.batch_gradients import Batch, Rows, Step, positions_in
from universality.sae.compute.products import linear, matmul
from universality.sae.compute.selection import largest
from universality.sae.compute.weights import Weights
from universality.sae.compute.workers import ranges, share_out

TOKENS_A_TASK = 512
DENSE_UP_TO = 4
"""Up to about this multiple of k dead features dense products are faster than sparse ones."""


def is_dense(aux: AuxK, n_dead: int) -> bool:
    """Whether dense products with the dead features are faster than sparse ones."""
    return n_dead <= DENSE_UP_TO * aux.k


@dataclass(frozen=True)
class Auxiliary:
    """What AuxK adds to a step."""

    loss: Tensor | float
    """Its value, before its weight."""
    b_enc: Tensor
    """Gradient [n_dead] of the dead features' biases."""
    rows: Rows
    """Gradients of the dead features' rows."""

    def added_to(self, step: Step, weights: Weights, batch: Batch, dead: Tensor) -> Step:
        """The step with the auxiliary loss; ``dead`` int64 [n_dead] names the features."""
        # b_dec is part of the dead features' encoder input; through the decoder it has no gradient, as e is fixed.
        b_dec = step.b_dec - self.b_enc @ weights.W_enc[dead] if batch.pre_bias else step.b_dec
        return replace(
            step,
            rows=(*step.rows, self.rows),
            b_enc=step.b_enc.index_add(0, dead, self.b_enc),
            b_dec=b_dec,
            auxiliary=self.loss,
        )


def leftover_of(batch: Batch, output_grad: Tensor) -> tuple[Tensor, Tensor]:
    """e [n_tokens, d_in] from ∂loss/∂x̂, and Σ_t ‖e_t‖²."""
    leftover = output_grad * (-1 / batch.error_factor)
    # A batch that is reconstructed exactly would divide 0 by 0.
    return leftover, leftover.square().sum().clamp_min(torch.finfo(leftover.dtype).tiny)


def dense_auxiliary(
    aux: AuxK, weights: Weights, batch: Batch, dead: Tensor, pre: Tensor, leftover: Tensor, energy: Tensor
) -> Auxiliary:
    """AuxK and its gradients by dense products with the dead features alone.

    Parameters
    ----------
    dead : int64 [n_dead]
        The dead features, rising.
    pre : [n_tokens, n_dead]
        Their pre-activations.
    leftover, energy
        As returned by `leftover_of`.
    """
    acts = _largest_densely(pre, aux.k)
    decoder = weights.W_dec[dead]
    grad, value_grad = torch.empty_like(leftover), torch.empty_like(acts)
    factor = 2 * aux.weight / energy

    def fill(part: slice) -> Tensor:
        error = matmul(acts[part], decoder).sub_(leftover[part])
        grad[part] = error * factor
        value_grad[part] = linear(grad[part], decoder).mul_(acts[part] > 0)
        return error.square().sum()

    tasks = ranges(len(acts), TOKENS_A_TASK if acts.device.type == "cpu" else len(acts))
    loss = torch.stack(share_out(fill, tasks)).sum() / energy

    def add(part: slice, encoder_grad: Tensor, decoder_grad: Tensor) -> None:
        # All features at once, as on a card, which need not be asked where the dead ones lie.
        here = slice(0, len(dead)) if part == slice(0, len(weights.W_dec)) else positions_in(part, dead)
        if here.start == here.stop:
            return
        rows = dead[here] - part.start
        decoder_grad.index_add_(0, rows, matmul(acts[:, here].T, grad))
        encoder_grad.index_add_(0, rows, matmul(value_grad[:, here].T, batch.inputs))

    return Auxiliary(loss, value_grad.sum(dim=0), add)


def _largest_densely(pre: Tensor, k: int) -> Tensor:
    """The k largest positive entries of each row, all others 0."""
    if pre.shape[1] <= k:
        return pre.relu()
    if pre.device.type == "cpu":
        return torch.from_numpy(largest(pre, k).csr().toarray())
    values, indices = pre.topk(k, dim=-1, sorted=False)
    return torch.zeros_like(pre).scatter(-1, indices, values.relu())

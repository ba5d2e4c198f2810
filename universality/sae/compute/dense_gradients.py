"""Gradients by dense products: where many features fire, on any device.

Tokens are taken in stretches, so that pre-activations stay small at any width. On a CPU each stretch is shared out
by tokens for what needs all features, and by features for what sums over tokens: both cuts are fixed, so that the
result is the same bytes for any number of threads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from universality.sae.architectures.base import Architecture
from universality.sae.compute.batch_gradients import Batch, Step, decoder_bias
from universality.sae.compute.products import linear, matmul
from universality.sae.compute.weights import Weights
from universality.sae.compute.workers import ranges, share_out

TOKENS_A_TASK, FEATURES_A_TASK = 256, 1024
ENTRIES_A_STRETCH = {"cpu": 2**25, "other": 2**28}
"""Tokens times features whose activations and gradients are held: two such arrays of 128 MB, or of 1 GB."""


def dense_step(kind: Architecture, weights: Weights, batch: Batch, products: torch.dtype = torch.float32) -> Step:
    """Gradients of an architecture's loss on a batch; it has no auxiliary one, and one prefix.

    Parameters
    ----------
    products
        Number format of all products.
    """
    like = weights.W_dec
    n_tokens, d_sae = len(batch.inputs), len(like)
    sums = _Sums(kind, weights, batch, products)
    entries = ENTRIES_A_STRETCH["cpu" if like.device.type == "cpu" else "other"]
    for stretch in ranges(n_tokens, max(1, entries // d_sae)):
        sums.add(stretch)

    def rows(part: slice, encoder_grad: Tensor, decoder_grad: Tensor) -> None:
        encoder_grad += sums.W_enc[part]
        decoder_grad += sums.W_dec[part]

    return Step(
        rows=(rows,),
        b_enc=sums.b_enc,
        b_dec=decoder_bias(batch, sums.output_grad, sums.b_enc, weights.W_enc),
        log_threshold=None if weights.log_threshold is None else sums.log_threshold,
        squared_error=sums.squared_error,
        loss=sums.squared_error / batch.inputs.numel() + sums.penalty,
        firings=sums.firings,
        output_grad=sums.output_grad,
    )


class _Sums:
    """Sums over tokens: gradients [d_sae, …] and what is reported."""

    def __init__(self, kind: Architecture, weights: Weights, batch: Batch, products: torch.dtype) -> None:
        self.kind, self.batch, self.products = kind, batch, products
        self.encoder, self.bias, self.decoder = (t.to(products) for t in (weights.W_enc, weights.b_enc, weights.W_dec))
        self.threshold = None if weights.log_threshold is None else weights.log_threshold.exp()
        self.W_enc, self.W_dec = torch.zeros_like(weights.W_enc), torch.zeros_like(weights.W_dec)
        self.b_enc, self.log_threshold = torch.zeros_like(weights.b_enc), torch.zeros_like(weights.b_enc)
        self.firings = torch.zeros_like(weights.b_enc, dtype=torch.int64)
        self.output_grad = torch.empty_like(batch.targets)
        self.squared_error = batch.inputs.new_zeros((), dtype=torch.float64)
        self.penalty: Tensor | float = 0.0

    def add(self, stretch: slice) -> None:
        """Some tokens."""
        on_cpu = self.W_dec.device.type == "cpu"
        inputs = self.batch.inputs[stretch]
        n, d_sae = len(inputs), len(self.W_dec)
        acts, grad = inputs.new_empty(n, d_sae), inputs.new_empty(n, d_sae)
        near = None if self.threshold is None else inputs.new_empty(n, d_sae)

        def by_token(part: slice) -> Tensor:
            return self._one_part(slice(stretch.start + part.start, stretch.start + part.stop), part, acts, grad, near)

        def by_feature(part: slice) -> None:
            out = self.output_grad[stretch]
            self.W_dec[part] += matmul(acts[:, part].T.to(self.products), out.to(self.products))
            self.W_enc[part] += matmul(grad[:, part].T.to(self.products), inputs.to(self.products))
            self.b_enc[part] += grad[:, part].sum(dim=0)
            self.firings[part] += (acts[:, part] > 0).sum(dim=0)
            if near is not None:
                self.log_threshold[part] += near[:, part].sum(dim=0)

        errors = share_out(by_token, ranges(n, TOKENS_A_TASK if on_cpu else n))
        share_out(by_feature, ranges(d_sae, FEATURES_A_TASK if on_cpu else d_sae))
        self.squared_error += torch.stack(errors).sum()
        self.penalty += self.kind.penalty(acts, len(self.batch.inputs))

    def _one_part(self, tokens: slice, here: slice, acts: Tensor, grad: Tensor, near: Tensor | None) -> Tensor:
        """Activations, their gradients and the squared error [] of some tokens."""
        dtype, products = acts.dtype, self.products
        pre = linear(self.batch.inputs[tokens].to(products), self.encoder, self.bias).to(dtype)
        acts[here] = self.kind.activate(pre, self.threshold)
        error = matmul(acts[here].to(products), self.decoder).to(dtype).sub_(self.batch.targets[tokens])
        self.output_grad[tokens] = error * self.batch.error_factor
        value_grad = linear(self.output_grad[tokens].to(products), self.decoder).to(dtype)
        found, moves = self.kind.backward(pre, value_grad, self.threshold, len(self.batch.inputs))
        grad[here] = found
        if near is not None and moves is not None:
            near[here] = moves
        return error.square().sum(dtype=torch.float64)

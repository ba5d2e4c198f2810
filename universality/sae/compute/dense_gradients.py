"""Gradients by dense products: where many features fire, or the backward pass is left to autograd. On any device.

Tokens are taken in stretches, so that pre-activations stay small at any width. On a CPU each stretch is divided by
tokens for what needs all features, and by features for what sums over tokens. Both divisions are fixed, so the result
is the same bytes for any number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from universality.errors import ModelError
from universality.sae.architectures.base import Architecture, AutogradArchitecture, ForwardPass
from universality.sae.compute.auxiliary_loss import dense_auxiliary, leftover_of
from universality.sae.compute.batch_gradients import Batch, Step, decoder_bias
from universality.sae.compute.products import linear, matmul
from universality.sae.compute.weights import Weights
from universality.sae.compute.workers import ranges, share_out

TOKENS_A_TASK, FEATURES_A_TASK = 256, 1024
ENTRIES_A_STRETCH = {"cpu": 2**25, "other": 2**28}
"""Tokens times features whose activations and gradients are held: two such arrays of 128 MB, or of 1 GB."""


def dense_step(
    architecture: Architecture, weights: Weights, batch: Batch, dead: Tensor, products: torch.dtype = torch.float32
) -> Step:
    """Compute the gradients of an architecture's loss on a batch; it must have one prefix, d_sae.

    Parameters
    ----------
    dead : int64 [n_dead]
        The dead features, rising.
    products
        Number format of all products.
    """
    like = weights.W_dec
    n_tokens, d_sae = len(batch.inputs), len(like)
    sums = _sums(architecture, weights, batch, products)
    entries = ENTRIES_A_STRETCH["cpu" if like.device.type == "cpu" else "other"]
    for stretch in ranges(n_tokens, max(1, entries // d_sae)):
        sums.add(stretch)

    def rows(part: slice, encoder_grad: Tensor, decoder_grad: Tensor) -> None:
        encoder_grad += sums.W_enc[part]
        decoder_grad += sums.W_dec[part]

    step = Step(
        rows=(rows,),
        b_enc=sums.b_enc,
        b_dec=decoder_bias(batch, sums.output_grad, sums.b_enc, weights.W_enc),
        log_threshold=None if weights.log_threshold is None else sums.log_threshold,
        squared_error=sums.squared_error,
        loss=sums.squared_error / batch.inputs.numel() + sums.penalty,
        firings=sums.firings,
        output_grad=sums.output_grad,
        parameters=sums.parameters,
    )
    if architecture.aux is None or not len(dead):
        return step
    pre = linear(batch.inputs, weights.W_enc[dead], weights.b_enc[dead])
    leftover, energy = leftover_of(batch, step.output_grad)
    extra = dense_auxiliary(architecture.aux, weights, batch, dead, pre, leftover, energy)
    return extra.added_to(step, weights, batch, dead)


def activations(architecture: AutogradArchitecture, pre: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """Activations by an architecture's own forward function, checked.

    Raises
    ------
    ModelError
        If their shape is not that of the pre-activations, or one is negative or NaN.
    """
    acts = architecture.forward(pre, parameters)
    if acts.shape != pre.shape or not bool((acts >= 0).all()):
        raise ModelError(
            f"{type(architecture).__name__}.forward must return activations of at least 0 and of shape "
            f"{list(pre.shape)}; found shape {list(acts.shape)}, least value {float(acts.detach().min()):g}"
        )
    return acts


@dataclass(frozen=True)
class _Part:
    """Sums over the tokens of one task."""

    squared_error: Tensor
    penalty: Tensor | float = 0.0
    parameters: Mapping[str, Tensor] = field(default_factory=dict)


def _sums(architecture: Architecture, weights: Weights, batch: Batch, products: torch.dtype) -> _Sums:
    if isinstance(architecture, AutogradArchitecture):
        return _AutogradSums(architecture, weights, batch, products)
    return _Sums(architecture, weights, batch, products)


class _Sums:
    """Gradients [d_sae, …] and statistics, summed over tokens."""

    def __init__(self, architecture: Architecture, weights: Weights, batch: Batch, products: torch.dtype) -> None:
        self.architecture, self.weights, self.batch, self.products = architecture, weights, batch, products
        self.encoder, self.bias, self.decoder = (t.to(products) for t in (weights.W_enc, weights.b_enc, weights.W_dec))
        self.threshold = None if weights.log_threshold is None else weights.log_threshold.exp()
        self.W_enc, self.W_dec = torch.zeros_like(weights.W_enc), torch.zeros_like(weights.W_dec)
        self.b_enc, self.log_threshold = torch.zeros_like(weights.b_enc), torch.zeros_like(weights.b_enc)
        self.parameters = {name: torch.zeros_like(value) for name, value in weights.parameters.items()}
        self.firings = torch.zeros_like(weights.b_enc, dtype=torch.int64)
        self.output_grad = torch.empty_like(batch.targets)
        self.squared_error = batch.inputs.new_zeros((), dtype=torch.float64)
        self.penalty: Tensor | float = 0.0

    def add(self, stretch: slice) -> None:
        """Add a stretch of tokens."""
        on_cpu = self.W_dec.device.type == "cpu"
        inputs = self.batch.inputs[stretch]
        n, d_sae = len(inputs), len(self.W_dec)
        acts, grad = inputs.new_empty(n, d_sae), inputs.new_empty(n, d_sae)
        threshold_grad = None if self.threshold is None else inputs.new_empty(n, d_sae)

        def by_token(part: slice) -> _Part:
            tokens = slice(stretch.start + part.start, stretch.start + part.stop)
            return self._one_part(tokens, part, acts, grad, threshold_grad)

        def by_feature(part: slice) -> None:
            out = self.output_grad[stretch]
            self.W_dec[part] += matmul(acts[:, part].T.to(self.products), out.to(self.products))
            self.W_enc[part] += matmul(grad[:, part].T.to(self.products), inputs.to(self.products))
            self.b_enc[part] += grad[:, part].sum(dim=0)
            self.firings[part] += (acts[:, part] > 0).sum(dim=0)
            if threshold_grad is not None:
                self.log_threshold[part] += threshold_grad[:, part].sum(dim=0)

        parts = share_out(by_token, ranges(n, TOKENS_A_TASK if on_cpu else n))
        share_out(by_feature, ranges(d_sae, FEATURES_A_TASK if on_cpu else d_sae))
        self.squared_error += torch.stack([part.squared_error for part in parts]).sum()
        self.penalty += self.architecture.penalty(acts, len(self.batch.inputs))
        for part in parts:
            self.penalty += part.penalty
            for name, gradient in part.parameters.items():
                self.parameters[name] += gradient

    def _one_part(self, tokens: slice, here: slice, acts: Tensor, grad: Tensor, threshold_grad: Tensor | None) -> _Part:
        """Fill activations and their gradients for some tokens, at rows ``here`` of the stretch."""
        pre = self._pre(tokens)
        acts[here] = self.architecture.activate(pre, self.threshold)
        squared_error, value_grad = self._decode(tokens, acts[here])
        n_tokens = len(self.batch.inputs)
        grad[here], of_threshold = self.architecture.backward(pre, value_grad, self.threshold, n_tokens)
        if threshold_grad is not None and of_threshold is not None:
            threshold_grad[here] = of_threshold
        return _Part(squared_error)

    def _pre(self, tokens: slice) -> Tensor:
        inputs = self.batch.inputs[tokens]
        return linear(inputs.to(self.products), self.encoder, self.bias).to(inputs.dtype)

    def _decode(self, tokens: slice, acts: Tensor) -> tuple[Tensor, Tensor]:
        """Squared error [] of some tokens, and ∂(squared error)/∂activation [n_tokens, d_sae]."""
        error = matmul(acts.to(self.products), self.decoder).to(acts.dtype).sub_(self.batch.targets[tokens])
        self.output_grad[tokens] = error * self.batch.error_factor
        value_grad = linear(self.output_grad[tokens].to(self.products), self.decoder).to(acts.dtype)
        return error.square().sum(dtype=torch.float64), value_grad


class _AutogradSums(_Sums):
    """The same, where autograd leads from activations and penalty back to pre-activations and own parameters."""

    architecture: AutogradArchitecture

    def _one_part(self, tokens: slice, here: slice, acts: Tensor, grad: Tensor, threshold_grad: Tensor | None) -> _Part:
        # Only this graph, of one task's tokens, is ever held: 256 tokens × d_sae on a CPU, whatever the batch.
        with torch.enable_grad():
            pre = self._pre(tokens).requires_grad_()
            own = {name: value.detach().requires_grad_() for name, value in self.weights.parameters.items()}
            fired = activations(self.architecture, pre, own)
            forward = ForwardPass(pre, fired, self.batch.targets[tokens], self.weights.W_dec, own)
            by_token = self.architecture.token_penalty(forward)
            penalty = pre.new_zeros(()) if by_token is None else by_token.sum(dtype=torch.float64)
            penalty = penalty / len(self.batch.inputs)
        acts[here] = fired.detach()
        squared_error, value_grad = self._decode(tokens, acts[here])
        # autograd refuses outputs without a graph, such as a penalty that is constant
        outputs = [(fired, value_grad), (penalty, torch.ones_like(penalty))]
        outputs = [(output, of_output) for output, of_output in outputs if output.requires_grad]
        inputs = [pre, *own.values()]
        if outputs:
            values, of_values = zip(*outputs, strict=True)
            of_pre, *of_own = torch.autograd.grad(values, inputs, of_values, allow_unused=True, materialize_grads=True)
        else:
            of_pre, *of_own = (torch.zeros_like(tensor) for tensor in inputs)
        grad[here] = of_pre
        return _Part(squared_error, penalty.detach(), dict(zip(own, of_own, strict=True)))

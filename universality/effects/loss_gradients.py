"""Gradients of the loss with respect to activations, from one forward and one backward pass.

L is the summed next-token loss of a block. Positions before t do not depend on the activations at t, so ∂L/∂x_t is
also the gradient of the loss summed from t on. Only activations get gradients: those of weights would cost as much
again, and the part of the model before the first hook is not recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from universality.extras import naming_extra

with naming_extra("a gradient"):
    import torch
    from torch import Tensor

from universality.activations import ModelSite
from universality.corpus.blocks import TokenBlocks
from universality.errors import ModelError
from universality.models.forward import hooked_pass, logits_bytes, loss_batches, similar_lengths, to_device

_READ = "activations"  # no hook bears this name


def loss_gradients(site: ModelSite, blocks: TokenBlocks, hooks: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute activations at a site, and gradients of the loss with respect to activations at hooks.

    Parameters
    ----------
    site
        The model at the hook whose activations are returned.
    blocks
        Text. Memory holds the logits of a batch twice, each of `universality.models.forward.logits_bytes`.
    hooks
        Names of hooks of the model.

    Returns
    -------
    Tensor [n_tokens, d_in]
        Activations at the site, float32, in the order of ``blocks.valid``.
    dict of Tensor [n_tokens, d]
        Hook → gradients, in nats for each unit of activation; float32, or float64 for a model in float64.

    Raises
    ------
    ModelError
        If the model does not reach a hook, or its loss does not depend on one.
    """
    bridge = site.model.bridge
    place = (np.cumsum(blocks.valid) - 1).reshape(blocks.tokens.shape)  # row of each text token
    out: dict[str, Tensor] = {}
    with _frozen(bridge):
        for batch in loss_batches(bridge, blocks, logits_bytes(site.device)):
            for part, columns in similar_lengths(blocks.length[batch], blocks.n_ctx):
                tokens, text = (x[:, :columns] for x in to_device(blocks.take(batch[part]), site.device))
                rows = torch.from_numpy(place[batch[part], :columns]).to(site.device)[text]
                for name, values in _one_pass(site, tokens, text, hooks).items():
                    here = values[text].flatten(1)
                    if name not in out:
                        out[name] = here.new_empty((blocks.n_tokens, here.shape[1]))
                    out[name][rows] = here
    return out.pop(_READ).float(), {name: _at_least_float32(values) for name, values in out.items()}


def _one_pass(site: ModelSite, tokens: Tensor, text: Tensor, hooks: Sequence[str]) -> dict[str, Tensor]:
    """Activations at the site, and gradients by hook, all [n_blocks, n_ctx, ...]."""
    reached: dict[str, Tensor] = {}

    def keep(activation: Tensor, hook: Any, name: str) -> Tensor:
        if name not in hooks:  # the site alone
            reached[name] = activation.detach().clone()
            return activation
        # The first hook cuts the model off: nothing before it takes part in the backward pass.
        reached[name] = activation if activation.requires_grad else activation.detach().requires_grad_()
        return reached[name].clone()  # later modules may write into it

    with torch.enable_grad():
        kept = [(name, partial(keep, name=name)) for name in dict.fromkeys([site.hook, *hooks])]
        logits = hooked_pass(site.model.bridge, tokens, kept)
    if missed := [name for name in (site.hook, *hooks) if name not in reached]:
        raise ModelError(f"the forward pass never reached hook {missed[0]!r}; expected a hook that the model runs")
    gradients: Sequence[Tensor | None] = [None] * len(hooks)
    if logits.requires_grad:
        wanted = [reached[name] for name in hooks]
        gradients = torch.autograd.grad(logits, wanted, _logit_gradient(logits, tokens, text), allow_unused=True)
    by_hook = {name: gradient for name, gradient in zip(hooks, gradients, strict=True) if gradient is not None}
    if unused := [name for name in hooks if name not in by_hook]:
        raise ModelError(
            f"the loss of model {site.name!r} does not depend on {unused[0]}, so nothing has an effect there"
        )
    return {_READ: reached[site.hook].detach(), **by_hook}


@torch.no_grad()
def _logit_gradient(logits: Tensor, tokens: Tensor, text: Tensor) -> Tensor:
    """∂L/∂logits = softmax − one-hot(next token) where a text token follows, else 0; no other array of its size."""
    gradient = _at_least_float32(logits).softmax(-1)
    gradient[:, :-1].scatter_add_(-1, tokens[:, 1:, None], gradient.new_full((*tokens[:, 1:].shape, 1), -1.0))
    if not bool((follows := text[:, 1:]).all()):
        gradient[:, :-1][~follows] = 0
    gradient[:, -1] = 0
    return gradient.to(logits.dtype)


@contextmanager
def _frozen(bridge: torch.nn.Module) -> Iterator[None]:
    """Let no weight require a gradient, so that the pass keeps nothing for one."""
    weights = [weight for weight in bridge.parameters() if weight.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()

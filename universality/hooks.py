"""Properties of activations that follow from a hook's name (TransformerLens's names and older aliases)."""

import re

_NEURONS = re.compile(r"blocks\.\d+\.mlp\.(hook_pre|hook_post|in\.hook_out|out\.hook_in)")
_RESIDUAL = re.compile(
    r"blocks\.\d+\.(hook_out|hook_in|hook_resid_(pre|mid|post)|hook_(mlp|attn)_out|(mlp|attn)\.hook_out)"
)


def holds_neurons(hook: str) -> bool:
    """Return whether single activations are neurons, which holds inside an MLP only."""
    return _NEURONS.fullmatch(hook) is not None


def in_residual_stream(hook: str) -> bool:
    """Return whether the hook is in the residual stream or added to it; all layers of a model share that basis."""
    return _RESIDUAL.fullmatch(hook) is not None

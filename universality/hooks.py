"""Properties of activations that follow from a hook's name (TransformerLens's names and older aliases)."""

import re

_NEURONS = re.compile(r"blocks\.\d+\.mlp\.(hook_pre|hook_post|in\.hook_out|out\.hook_in)")
_RESIDUAL = re.compile(
    r"blocks\.\d+\.(hook_out|hook_in|hook_resid_(pre|mid|post)|hook_(mlp|attn)_out|(mlp|attn)\.hook_out)"
)

_PLACES = {
    "the residual stream": re.compile(r"blocks\.\d+\.hook_(out|in|resid_(pre|mid|post))"),
    "the MLP's neurons": _NEURONS,
    "the MLP's output": re.compile(r"blocks\.\d+\.(hook_mlp_out|mlp\.hook_out)"),
    "the attention's output": re.compile(r"blocks\.\d+\.(hook_attn_out|attn\.hook_out)"),
    "the attention heads": re.compile(r"blocks\.\d+\.attn\.(hook_z|o\.hook_in)"),
}


def place_of(hook: str) -> str | None:
    """Name the part of a block that a hook reads; None where its name does not say.

    Examples
    --------
    >>> place_of("blocks.3.hook_resid_post"), place_of("blocks.0.mlp.hook_post")
    ('the residual stream', "the MLP's neurons")
    """
    return next((place for place, pattern in _PLACES.items() if pattern.fullmatch(hook)), None)


def holds_neurons(hook: str) -> bool:
    """Return whether single activations are neurons, which holds inside an MLP only."""
    return _NEURONS.fullmatch(hook) is not None


def in_residual_stream(hook: str) -> bool:
    """Return whether the hook is in the residual stream or added to it; all layers of a model share that basis."""
    return _RESIDUAL.fullmatch(hook) is not None

"""Where an SAE was trained, as its file says it: every tool has its own name for a place in a model."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

_KEYS = ("hook_name", "hook_point", "hook_point_in", "hook")
_MODULE = re.compile(r"(?:.*\.)?(?:layers|h|blocks)\.(\d+)(?:\.(mlp|attention|attn|self_attn))?")
_SUBMODULE = re.compile(r"(resid_post|mlp|mlp_out|attn|attn_out|attention|attention_out)_layer_(\d+)")
_OUTPUT = {"mlp": "hook_mlp_out", "attn": "hook_attn_out", "attention": "hook_attn_out", "self_attn": "hook_attn_out"}
_STREAM = re.compile(r"blocks\.(\d+)\.(hook_resid_pre|hook_in|hook_resid_post|hook_out)")


def stated_hook(metadata: Mapping[str, Any]) -> str | None:
    """The hook, in TransformerLens's names, that an SAE's metadata tells; None where it tells none that is known.

    SAELens, Llamascopium and ours name hooks. sparsify names the module whose output it read (``layers.3.mlp``), and
    dictionary_learning the place and layer (``resid_post_layer_3``).
    """
    for key in _KEYS:
        if isinstance(found := metadata.get(key), str) and found:
            return found
    module, training = metadata.get("hookpoint"), metadata.get("training")
    if isinstance(module, str) and (match := _MODULE.fullmatch(module)):
        return f"blocks.{match[1]}.{_OUTPUT.get(match[2], 'hook_resid_post')}"
    name = training.get("submodule_name") if isinstance(training, Mapping) else None
    if isinstance(name, str) and (match := _SUBMODULE.fullmatch(name)):
        return f"blocks.{match[2]}.{_OUTPUT.get(match[1].removesuffix('_out'), 'hook_resid_post')}"
    return None


def same_place(hook: str, aliases: Iterable[str]) -> bool:
    """Whether a hook is one of these names of a site, or reads the same residual stream between two blocks."""
    return _between(hook) in {_between(alias) for alias in aliases}


def _between(hook: str) -> str:
    """What leaves block n enters block n + 1."""
    found = _STREAM.fullmatch(hook)
    if found is None:
        return hook
    enters = found[2] in ("hook_resid_pre", "hook_in")
    return f"the residual stream before block {int(found[1]) + (not enters)}"

"""Hook at which an SAE was trained, from its metadata: every tool has its own names for sites of a model."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

_KEYS = ("hook_name", "hook_point", "hook_point_in", "hook", "hf_hook_point_in", "hookpoint")
_OUTPUT_KEYS = ("hook_name_out", "hook_point_out", "hook_out", "hf_hook_point_out", "out_hook_point")
# SAELens 6 writes the module beside hook_name; for Gemma Scope 2's transcoders only the module is the right place:
# hook_mlp_in stands before the norm, and they read behind it.
_SURER, _SURER_OUTPUT = "hf_hook_name", "hf_hook_name_out"
_MODULE = re.compile(r"(?:.*\.)?(?:layers|h|blocks)\.(\d+)(?:\.(mlp|attention|attn|self_attn))?(?:\.(input|output))?")
_BLOCK = r"(?:.*\.)?(?:layers|h)\.(\d+)\."
_SITES = {
    # activation function of an MLP without a gate; with a gate its output is not yet that of the neurons
    r"(?:.*\.)?(?:gpt_neox\.layers|h)\.(\d+)\.mlp\.act": "blocks.{}.mlp.hook_post",
    # input of the attention's output projection: the concatenated heads of a token
    _BLOCK + r"(?:self_attn\.o_proj|attn\.c_proj|attention\.dense)\.input": "blocks.{}.attn.hook_z",
    # norm behind the MLP; TransformerLens's hook_mlp_out is behind it in models that have one (Gemma 2 and 3, OLMo 2)
    _BLOCK + r"post_feedforward_layernorm(?:\.output)?": "blocks.{}.hook_mlp_out",
    # norm before the MLP in those models, which gives the MLP's input
    _BLOCK + r"pre_feedforward_layernorm(?:\.output)?": "blocks.{}.mlp.hook_in",
}
"""Modules that stand for one site, and its hook."""
_SUBMODULE = re.compile(r"(resid_post|mlp|mlp_out|attn|attn_out|attention|attention_out)_layer_(\d+)")
_OUTPUT = {"mlp": "hook_mlp_out", "attn": "hook_attn_out", "attention": "hook_attn_out", "self_attn": "hook_attn_out"}
_MLP_INPUT = re.compile(r"blocks\.(\d+)\.(ln2\.hook_out|mlp\.hook_in)")
_STREAM = re.compile(r"blocks\.(\d+)\.(hook_resid_pre|hook_in|hook_resid_post|hook_out)")
_TRANSFORMER_LENS = re.compile(r"(?:.*\.)?hook_\w+")


def stated_hook(metadata: Mapping[str, Any]) -> str | None:
    """Hook that an SAE's metadata name, in TransformerLens's terms; None if they name none that is known.

    SAELens and Llamascopium name hooks, or modules of the Hugging Face model (``model.layers.3``), as sparsify does
    (``layers.3.mlp``). A module stands for its output. dictionary_learning names submodule and layer
    (``resid_post_layer_3``).
    """
    name = stated_name(metadata)
    return None if name is None else hook_of(name)


def stated_model(metadata: Mapping[str, Any]) -> str | None:
    """Name of the model that an SAE was trained on, as the file has it; None if it has none."""
    training = metadata.get("training")
    of_training = training.get("lm_name") if isinstance(training, Mapping) else None
    names = (metadata.get("model_name"), of_training)
    return next((name for name in names if isinstance(name, str) and name), None)


def maybe_same_model(stated: str, name: str) -> bool:
    """Return whether two names may be of one model or of its fine-tune: the last parts, where one begins the other.

    Examples
    --------
    >>> maybe_same_model("gpt2-small", "openai-community/gpt2"), maybe_same_model("gemma-2-2b", "google/gemma-2-2b-it")
    (True, True)
    >>> maybe_same_model("pythia-70m", "EleutherAI/pythia-160m")
    False
    """
    one, other = (text.rsplit("/", 1)[-1].casefold() for text in (stated, name))
    return one.startswith(other) or other.startswith(one)


def stated_hook_out(metadata: Mapping[str, Any]) -> str | None:
    """Hook at which a transcoder writes, as its metadata name it; None as for `stated_hook`."""
    name = stated_name_out(metadata)
    return None if name is None else hook_of(name)


def stated_name_out(metadata: Mapping[str, Any]) -> str | None:
    """Name of the site at which a transcoder writes, as the file has it; None if it has none."""
    keys = (*_if_known(metadata, _SURER_OUTPUT), *_OUTPUT_KEYS)
    return next((name for key in keys if isinstance(name := metadata.get(key), str) and name), None)


def stated_name(metadata: Mapping[str, Any]) -> str | None:
    """Name of the site as the file has it; None if it has none."""
    for key in (*_if_known(metadata, _SURER), *_KEYS):
        if isinstance(name := metadata.get(key), str) and name:
            # a hookpoint is the name of sparsify's folder, which may be called anything
            return name if key != "hookpoint" or "." in name else None
    training = metadata.get("training")
    name = training.get("submodule_name") if isinstance(training, Mapping) else None
    if not (isinstance(name, str) and name):
        return None
    return f"{name} (input)" if metadata.get("io") == "in" else name


def _if_known(metadata: Mapping[str, Any], key: str) -> tuple[str, ...]:
    name = metadata.get(key)
    return (key,) if isinstance(name, str) and hook_of(name) is not None else ()


def hook_of(name: str) -> str | None:
    """TransformerLens's name for a site; None if the name is unknown."""
    if _TRANSFORMER_LENS.fullmatch(name):
        return name
    for pattern, hook in _SITES.items():
        if match := re.fullmatch(pattern, name):
            return hook.format(match[1])
    if match := _MODULE.fullmatch(name):
        layer, part, side = match.groups()
        if side == "input":
            return {None: f"blocks.{layer}.hook_resid_pre", "mlp": f"blocks.{layer}.mlp.hook_in"}.get(part)
        return f"blocks.{layer}.{_OUTPUT.get(part, 'hook_resid_post')}"
    if match := _SUBMODULE.fullmatch(name):
        return f"blocks.{match[2]}.{_OUTPUT.get(match[1].removesuffix('_out'), 'hook_resid_post')}"
    return None


def same_place(hook: str, aliases: Iterable[str]) -> bool:
    """Whether a hook is one of these names, or holds the same activations: between two blocks, or before an MLP."""
    return _between(hook) in {_between(alias) for alias in aliases}


def _between(hook: str) -> str:
    """One name for the output of block n and the input of block n + 1, and one for an MLP's input behind its norm."""
    if read := _MLP_INPUT.fullmatch(hook):
        return f"the input of the MLP of block {read[1]}"
    match = _STREAM.fullmatch(hook)
    if match is None:
        return hook
    enters = match[2] in ("hook_resid_pre", "hook_in")
    return f"the residual stream before block {int(match[1]) + (not enters)}"

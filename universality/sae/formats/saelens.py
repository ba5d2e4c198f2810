"""SAELens: ``cfg.json`` and ``sae_weights.safetensors``, of version 6 or later and of earlier versions.

    W_enc [d_in, d_sae]    b_enc [d_sae]    W_dec [d_sae, d_in]    b_dec [d_in]    jumprelu: threshold [d_sae]

Of transcoders W_dec is [d_sae, d_out] and b_dec [d_out]; skip transcoders add x W_skipᵀ, W_skip [d_out, d_in].

Before 6.0 the configuration was flat, with ``hook_point`` or ``hook_name`` beside the shapes and ``activation_fn_str``
for the architecture. BatchTopK is saved as JumpReLU. With ``rescale_acts_by_decoder_norm`` features are selected, and
their activations given, as if decoder rows had unit norm; the norms are folded in here. With
``expected_average_only_in``, in the first versions ``true``, weights are for activations times √d_in / (their mean norm
over the training data). The library leaves the scaling to its caller. So does this module, and records it
(`SAE.awaits_scale`), except where a checkpoint's ``activation_scaler.json`` gives the factor, which is then folded in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from universality.checked_json import Settings
from universality.errors import FormatError
from universality.sae.formats.fields import Fields, chosen, expect, fold_decoder_norm, fold_scale, threshold_by_feature
from universality.sae.formats.safetensors_file import read_safetensors
from universality.sae.formats.source import Source
from universality.sae.formats.transcoder import refuse_transcoder

CONFIG, WEIGHTS, SCALER = "cfg.json", "sae_weights.safetensors", "activation_scaler.json"
BY_CALLER = (True, "expected_average_only_in")
"""Values of ``normalize_activations`` that leave the scaling to the caller."""
NAME = f"SAELens ({CONFIG}, {WEIGHTS})"
ARCHITECTURES = {"standard": "relu", "relu": "relu", "topk": "topk", "jumprelu": "jumprelu"}
_REFUSED = {
    "gated": "its gates and magnitudes have biases of their own",
    "abstopk": "its activations may be negative",
    "matching_pursuit": "it encodes step by step",
    "temporal": "it encodes a token from those before",
}
_TRANSCODER = re.compile(r"((?P<inner>(?!skip_)[a-z]+)_)?(?P<skip>skip_)?transcoder")
"""Names of transcoders: ``transcoder``, ``skip_transcoder``, ``jumprelu_transcoder``, ``jumprelu_skip_transcoder``."""
_NORMALISED = {"none": "none", "expected_average_only_in": "none"} | {
    name: name for name in ("layer_norm", "constant_norm_rescale")
}
_OLD_KEYS = (
    *("hook_name", "hook_name_out", "hook_point", "hook_head_index"),
    *("model_name", "dataset_path", "context_size", "prepend_bos"),
)


def recognise(source: Source) -> bool:
    """Recognise a folder by its two files."""
    return source.holds(CONFIG, WEIGHTS)


def read(source: Source, registered: str | None = None) -> Fields:
    """Read the fields of an `SAE`.

    Parameters
    ----------
    registered
        Name of an architecture of ours that SAELens does not have; all further tensors are its own parameters.
    """
    config = Settings.read(source / CONFIG)
    config.require("d_in", "d_sae")
    d_in, d_sae = config.integer("d_in"), config.integer("d_sae")
    architecture = registered or _architecture(config)
    transcoder = _TRANSCODER.fullmatch(config.text("architecture", "standard"))
    d_out = _check_transcoder(config) if transcoder else d_in
    if not transcoder:
        for section in (config, config.section("metadata")):
            refuse_transcoder(section.values, section.where)
    _check_reshape(config)
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (d_in, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d_out), "b_dec": (d_out,),
    }  # fmt: skip
    if transcoder and transcoder["skip"]:
        shapes["W_skip"] = (d_out, d_in)
    path = source / WEIGHTS
    tensors = read_safetensors(path)
    parameters: dict[str, Tensor] = {}
    if architecture == "jumprelu" or (registered and "threshold" in tensors):
        shapes["threshold"] = (d_sae,)
    if registered:
        parameters = {name: tensors.pop(name) for name in list(tensors) if name not in shapes}
    scaling = tensors.pop("scaling_factor", None)
    if scaling is not None and not torch.equal(scaling, torch.ones_like(scaling)):
        raise FormatError(f"{path}: scaling_factor, of a finetuned SAE, is not 1; only SAEs without it can be read")
    expect(tensors, path, shapes)
    fields: Fields = {
        **tensors,
        "architecture": architecture,
        "k": _k(config) if architecture == "topk" else None,
        "apply_b_dec_to_input": config.flag("apply_b_dec_to_input", not transcoder),
        "normalize_activations": _normalisation(config),
        "metadata": _metadata(config),
        "parameters": parameters,
        "transcoder": bool(transcoder),
    }
    if "W_skip" in shapes:
        fields["W_skip"] = fields["W_skip"].T
    if "threshold" in fields:
        fields["threshold"] = threshold_by_feature(fields["threshold"], d_sae)
    if config.flag("rescale_acts_by_decoder_norm", False):
        fields = fold_decoder_norm(fields)
    return _with_known_scale(fields, source / SCALER)


def transcoder_name(architecture: str, skip: bool) -> str:
    """Name of a transcoder with the activation function of an architecture that SAELens has (``standard``: none)."""
    inner = "" if architecture == "standard" else f"{architecture}_"
    return f"{inner}{'skip_' if skip else ''}transcoder"


def _check_transcoder(config: Settings) -> int:
    """Check what an `SAE` can hold of a transcoder; return d_out."""
    if awaits_scale(config.values):
        raise FormatError(
            f"{config.where}: normalize_activations is {config.values['normalize_activations']!r}: a transcoder whose "
            "input is scaled cannot be read, since the scale of its output is not recorded"
        )
    return config.integer("d_out")


def _with_known_scale(fields: Fields, path: Path) -> Fields:
    """Fold in the factor of a checkpoint, if the SAE expects scaled activations and the file exists."""
    metadata = fields["metadata"]
    if not awaits_scale(metadata) or not path.is_file():
        return fields
    factor = Settings.read(path).number("scaling_factor", None)
    return fields if factor is None else fold_scale({**fields, "metadata": with_scale(metadata, factor)}, factor)


def awaits_scale(metadata: Mapping[str, Any]) -> bool:
    """Whether an SAE with these metadata expects its caller to scale activations."""
    return metadata.get("normalize_activations") in BY_CALLER


def with_scale(metadata: Mapping[str, Any], factor: float, **measured: Any) -> dict[str, Any]:
    """Metadata after a factor is folded in, so that it is not applied again."""
    others = {name: value for name, value in metadata.items() if name != "normalize_activations"}
    asked = metadata.get("normalize_activations")
    return {**others, "activation_scale": {"asked_by": asked, "factor": float(factor), **measured}}


def _architecture(config: Settings) -> str:
    name = config.text("architecture", "standard")
    if transcoder := _TRANSCODER.fullmatch(name):
        name = transcoder["inner"] or "standard"
    if name in ("standard", "relu"):
        activation = config.text("activation_fn_str", config.text("activation_fn", "relu"))
        if activation not in ("relu", "topk"):
            raise FormatError(f"{config.where}: activation function {activation!r}; known: relu, topk")
        name = "topk" if activation == "topk" else name
    for refused, reason in _REFUSED.items():
        if refused in name:
            raise FormatError(f"{config.where}: architecture {name!r} cannot be read: {reason}")
    if name not in ARCHITECTURES:
        raise FormatError(f"{config.where}: architecture {name!r} is not known; known: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def _k(config: Settings) -> int:
    return config.integer("k") if "k" in config else config.section("activation_fn_kwargs").integer("k")


def _check_reshape(config: Settings) -> None:
    hook = config.text("hook_name", config.text("hook_point", ""))
    default = "hook_z" if "hook_z" in hook else "none"
    reshape = config.text("reshape_activations", default)
    if reshape != "none":
        raise FormatError(
            f"{config.where}: reshape_activations is {reshape!r}; only SAEs with 'none' can be read: this one encodes "
            "the concatenated heads of a token"
        )


def _normalisation(config: Settings) -> str:
    value = config.values.get("normalize_activations")
    if value is None or isinstance(value, bool):  # the first versions, which had no other normalisation
        return "none"
    name = config.text("normalize_activations")
    if name not in _NORMALISED:
        raise FormatError(f"{config.where}: normalize_activations is {name!r}; only SAEs with {_names()} can be read")
    return _NORMALISED[name]


def _names() -> str:
    return ", ".join(map(repr, _NORMALISED))


def _metadata(config: Settings) -> dict[str, Any]:
    metadata = {**chosen(config.values, *_OLD_KEYS), **config.section("metadata").values}
    given = config.values.get("normalize_activations")
    return metadata | ({"normalize_activations": given} if given in BY_CALLER else {})

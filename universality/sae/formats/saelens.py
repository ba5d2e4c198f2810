"""SAELens: ``cfg.json`` and ``sae_weights.safetensors``, of version 6 or later and of earlier versions.

    W_enc [d_in, d_sae]    b_enc [d_sae]    W_dec [d_sae, d_in]    b_dec [d_in]    jumprelu: threshold [d_sae]
    gated, instead of b_enc: r_mag, b_gate and b_mag [d_sae]

A gated SAE is read as the JumpReLU SAE that it equals (`gated_as_jumprelu`). With ``reshape_activations: hook_z`` the
library concatenates the heads of a token, as our own sites do. A ``finetuning_scaling_factor`` [d_sae], which versions
before 6 multiply activations by when they decode, is folded into W_dec; files call it ``scaling_factor`` as well.

Transcoders have W_dec [d_sae, d_out] and b_dec [d_out]; skip transcoders add x W_skipᵀ, W_skip [d_out, d_in].

Before 6.0 the configuration was flat, with ``hook_point`` or ``hook_name`` beside the shapes and ``activation_fn_str``
for the architecture. BatchTopK and Matryoshka are saved as JumpReLU; where the metadata record a Matryoshka training,
with its widths, the SAE is read as one. With ``rescale_acts_by_decoder_norm`` features are selected, and their
activations given, as if decoder rows had unit norm; the norms are folded in here. With
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
from universality.sae.formats.fields import (
    Fields,
    chosen,
    expect,
    fold_decoder_norm,
    fold_output_scale,
    fold_scale,
    gated_as_jumprelu,
    threshold_by_feature,
)
from universality.sae.formats.safetensors_file import read_safetensors
from universality.sae.formats.source import Source
from universality.sae.formats.transcoder import refuse_transcoder

CONFIG, WEIGHTS, SCALER = "cfg.json", "sae_weights.safetensors", "activation_scaler.json"
BY_CALLER = (True, "expected_average_only_in")
"""Values of ``normalize_activations`` that leave the scaling to the caller."""
NAME = f"SAELens ({CONFIG}, {WEIGHTS})"
ARCHITECTURES = {"standard": "relu", "relu": "relu", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated"}
_GATES = ("r_mag", "b_gate", "b_mag")
_FINETUNING = ("finetuning_scaling_factor", "scaling_factor")
_RESHAPED = ("none", "hook_z")
_REFUSED = {
    "abstopk": "its activations may be negative",
    "matching_pursuit": "it encodes step by step",
    "temporal": "it encodes a token from those before",
}
_TRANSCODER = re.compile(r"((?P<inner>jumprelu|topk)_)?(?P<skip>skip_)?transcoder")
"""Names of transcoders: ``transcoder``, ``skip_transcoder``, ``jumprelu_transcoder``, ``jumprelu_skip_transcoder``.

Those with topk are ours.
"""
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
    path = source / WEIGHTS
    tensors = read_safetensors(path)
    factor = _finetuning(config, path, tensors)
    gated = architecture == "gated" and not registered  # one may be registered under that name, with other parameters
    biases = dict.fromkeys(_GATES if gated else ("b_enc",), (d_sae,))
    shapes: dict[str, tuple[int, ...]] = {"W_enc": (d_in, d_sae), **biases, "W_dec": (d_sae, d_out), "b_dec": (d_out,)}
    shapes |= {"W_skip": (d_out, d_in)} if transcoder and transcoder["skip"] else {}
    if architecture == "jumprelu" or (registered and "threshold" in tensors):
        shapes["threshold"] = (d_sae,)
    parameters: dict[str, Tensor] = {}
    if registered:
        parameters = {name: tensors.pop(name) for name in list(tensors) if name not in shapes}
    expect(tensors, path, shapes)
    fields: Fields = {
        "architecture": architecture,
        **_weights(tensors, d_sae, gated),
        "k": _k(config) if architecture == "topk" else None,
        "apply_b_dec_to_input": config.flag("apply_b_dec_to_input", not transcoder),
        "normalize_activations": _normalisation(config),
        "metadata": _metadata(config) | ({"original_architecture": "gated"} if gated else {}),
        "parameters": parameters,
        "transcoder": bool(transcoder),
        **_nested(config, architecture, d_sae),
    }
    if "W_skip" in shapes:
        fields["W_skip"] = fields["W_skip"].T
    if config.flag("rescale_acts_by_decoder_norm", False):
        fields = fold_decoder_norm(fields)
    if factor is not None:
        fields = fold_output_scale(fields, factor)
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


def _weights(tensors: dict[str, Tensor], d_sae: int, gated: bool) -> Fields:
    if gated:
        return {"W_dec": tensors["W_dec"], "b_dec": tensors["b_dec"], **gated_as_jumprelu(tensors)}
    if "threshold" in tensors:
        return tensors | {"threshold": threshold_by_feature(tensors["threshold"], d_sae)}
    return tensors


def _finetuning(config: Settings, path: Path, tensors: dict[str, Tensor]) -> Tensor | None:
    """Take the factor of a finetuned SAE from its tensors; None if it has none, or one that changes nothing."""
    named = {name: tensors.pop(name) for name in _FINETUNING if name in tensors}
    factor = next((factor for factor in named.values() if not torch.equal(factor, torch.ones_like(factor))), None)
    if factor is None:
        return None
    if len(named) > 1 or not config.flag("finetuning_scaling_factor", False):
        raise FormatError(
            f"{path}: holds {' and '.join(named)}, which is not 1; expected one such tensor, and "
            f"finetuning_scaling_factor true in {config.where}"
        )
    shape = (config.integer("d_sae"),)
    if tuple(factor.shape) != shape:
        raise FormatError(f"{path}: {next(iter(named))} must have shape {list(shape)}, found {list(factor.shape)}")
    return factor


def _nested(config: Settings, architecture: str, d_sae: int) -> Fields:
    """Architecture, k and nested widths of a Matryoshka SAE, whose training the metadata record; else nothing."""
    metadata = config.section("metadata")
    ours = "universality" in metadata  # then those metadata have it, also of an SAE that was cut since
    if ours or architecture != "jumprelu" or metadata.values.get("training_architecture") != "matryoshka_batchtopk":
        return {}
    details = metadata.section("training_architecture_details")
    widths, k = details.integers("matryoshka_widths"), details.number("k")
    if not widths or widths[-1] != d_sae:
        raise FormatError(f"{details.where}: matryoshka_widths must end with d_sae = {d_sae}, found {list(widths)}")
    return {"architecture": "matryoshka", "nested": widths[:-1], "k": int(k) if k == int(k) else None}


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
    reshape = config.text("reshape_activations", "none")
    if reshape not in _RESHAPED:
        raise FormatError(
            f"{config.where}: reshape_activations is {reshape!r}; only SAEs with {' or '.join(map(repr, _RESHAPED))} "
            "can be read"
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

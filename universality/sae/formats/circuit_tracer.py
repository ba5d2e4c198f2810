"""circuit-tracer: per-layer transcoders, one ``layer_N.safetensors`` a layer, with ``config.yaml`` for all of them.

    W_enc [d_sae, d_in]    b_enc [d_sae]    W_dec [d_sae, d_out]    b_dec [d_out]
    optional: activation_function.threshold [d_sae]    W_skip [d_out, d_in]

    a = f(W_enc x + b_enc),    ŷ = a W_dec + b_dec + x W_skipᵀ

f is JumpReLU where there are thresholds, else ReLU. The configuration names the hooks within a layer
(``feature_input_hook``, ``feature_output_hook``). Some published sets have none; theirs is not known then. A
cross-layer transcoder writes at several layers, and is refused.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from universality.checked_json import Settings
from universality.errors import FormatError
from universality.obstacles import check_openable
from universality.sae.formats.fields import Fields, chosen, expect, matrix
from universality.sae.formats.safetensors_file import read_safetensors
from universality.sae.formats.source import Source

CONFIG = "config.yaml"
NAME = f"circuit-tracer (layer_N.safetensors, {CONFIG})"
_LAYER = re.compile(r"layer_(\d+)\.safetensors")
_CROSS_LAYER = re.compile(r"W_(enc|dec)_\d+\.safetensors")
_THRESHOLD = "activation_function.threshold"
_LARGEST = 1 << 20
"""Largest configuration in bytes; real ones have some hundred."""


def recognise(source: Source) -> bool:
    """Recognise a file by its name, or a folder by such files."""
    return bool(_named(source, _LAYER) or _named(source, _CROSS_LAYER))


def read(source: Source) -> Fields:
    """Read the fields of an `SAE`."""
    config = _config(source)
    if _named(source, _CROSS_LAYER) or config.text("model_kind", "transcoder_set") == "cross_layer_transcoder":
        raise FormatError(
            f"{source.path}: a cross-layer transcoder cannot be read: each feature writes at several layers"
        )
    names = _named(source, _LAYER)
    if len(names) != 1:
        raise FormatError(
            f"{source.path}: transcoders of {len(names)} layers, one a file; name one of {', '.join(names[:4])}, …"
        )
    path = source / names[0]
    tensors = read_safetensors(path)
    d_sae, d_in = matrix(tensors, path, "W_enc")
    d_out = matrix(tensors, path, "W_dec")[1]
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (d_sae, d_in), "b_enc": (d_sae,), "W_dec": (d_sae, d_out), "b_dec": (d_out,),
    }  # fmt: skip
    optional: dict[str, tuple[int, ...]] = {_THRESHOLD: (d_sae,), "W_skip": (d_out, d_in)}
    expect(tensors, path, shapes | {name: shape for name, shape in optional.items() if name in tensors})
    threshold = tensors.get(_THRESHOLD)
    if threshold is not None and bool((threshold < 0).any()):
        raise FormatError(f"{path}: {_THRESHOLD} is below 0, so that activations may be negative; expected at least 0")
    return {
        "W_enc": tensors["W_enc"].T,
        **{name: tensors[name] for name in ("b_enc", "W_dec", "b_dec")},
        "W_skip": tensors["W_skip"].T if "W_skip" in tensors else None,
        "threshold": threshold,
        "architecture": "relu" if threshold is None else "jumprelu",
        "apply_b_dec_to_input": False,
        "transcoder": True,
        "metadata": _metadata(config, names[0]),
    }


def _named(source: Source, pattern: re.Pattern[str]) -> list[str]:
    """Names of the files that the caller named, or that are in the folder that it named."""
    if source.path.is_file():
        return [source.path.name] if pattern.fullmatch(source.path.name) else []
    if not source.path.is_dir():
        return []
    return sorted(entry.name for entry in source.path.iterdir() if pattern.fullmatch(entry.name) and entry.is_file())


def _config(source: Source) -> Settings:
    path = source / CONFIG
    if not path.is_file():
        return Settings({}, str(path))
    check_openable(path)
    try:
        text = path.read_bytes()[: _LARGEST + 1]
        values: Any = yaml.safe_load(text) if len(text) <= _LARGEST else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise FormatError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise FormatError(f"{path}: expected a mapping of at most {_LARGEST:,} bytes")
    return Settings(values, str(path))


def _metadata(config: Settings, name: str) -> dict[str, Any]:
    layer = int(name.removeprefix("layer_").removesuffix(".safetensors"))
    hooks = {
        ours: f"blocks.{layer}.{config.text(theirs)}"
        for ours, theirs in (("hook", "feature_input_hook"), ("hook_out", "feature_output_hook"))
        if theirs in config
    }
    return {"layer": layer, **hooks, **chosen(config.values, "model_name", "scan")}

"""The two files of an SAE: ``cfg.json`` and ``sae_weights.safetensors``, with the keys of SAELens 6 and later.

What SAELens has no key for (the scale used in training, the version of this layout, a hash of the weights) stands in
``metadata.universality``. SAELens calls the architecture ``relu`` "standard", and all whose features fire above a
threshold "jumprelu", with a tensor ``threshold``; our own name for them stands in ``metadata.universality`` too.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from universality.errors import FormatError

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec")
VERSION = 1
_THEIRS = {"relu": "standard", "batchtopk": "jumprelu", "matryoshka": "jumprelu"}
_OURS = {"standard": "relu", "relu": "relu", "topk": "topk", "jumprelu": "jumprelu"}


def write(folder: Path, tensors: Mapping[str, Tensor], settings: Mapping[str, Any], metadata: dict[str, Any]) -> None:
    """Write both files, the configuration last: without it there is no SAE."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    d_sae, d_in = tensors["W_dec"].shape
    config: dict[str, Any] = {
        "architecture": _THEIRS.get(settings["architecture"], settings["architecture"]),
        "d_in": d_in,
        "d_sae": d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": settings["apply_b_dec_to_input"],
        "normalize_activations": "none",
        "reshape_activations": "none",
    }
    if settings["architecture"] == "topk":
        config |= {"k": settings["k"], "rescale_acts_by_decoder_norm": False}
    ours = {"version": VERSION, "scale": settings["scale"], "weights_sha256": hashlib.sha256(weights).hexdigest()}
    if settings["architecture"] in ("batchtopk", "matryoshka"):
        ours |= {"architecture": settings["architecture"], "k": settings["k"], "nested": settings["nested"]}
    config["metadata"] = {**metadata, "universality": ours}
    text = json.dumps(config, indent=2, sort_keys=True, allow_nan=False) + "\n"
    (folder / CONFIG).unlink(missing_ok=True)
    _replace(folder / WEIGHTS, weights)
    _replace(folder / CONFIG, text.encode())


def read(path: Path) -> dict[str, Any]:
    """The fields of an SAE; ``path`` is its folder or one of the files in it.

    Raises
    ------
    FormatError
        If a file is missing, torn, foreign, of a later version, or its checksum is not that of the weights.
    """
    folder = path.parent if path.name in (CONFIG, WEIGHTS) else path
    config = _read_config(folder / CONFIG)
    metadata = dict(config.get("metadata") or {})
    ours = metadata.pop("universality", {})
    kind = ours.get("architecture", _OURS[config["architecture"]])
    names = (*TENSORS, "threshold") if config["architecture"] == "jumprelu" else TENSORS
    tensors = _read_weights(folder / WEIGHTS, names, ours.get("weights_sha256"))
    settings = {
        "architecture": kind,
        "k": ours.get("k", config.get("k")),
        "nested": tuple(ours.get("nested", ())),
        "apply_b_dec_to_input": config["apply_b_dec_to_input"],
        "scale": float(ours.get("scale", 1.0)),
    }
    found = tuple(tensors["W_dec"].shape)
    if found != (config["d_sae"], config["d_in"]):
        raise FormatError(
            f"{folder / WEIGHTS}: {CONFIG} says W_dec is [{config['d_sae']}, {config['d_in']}], found {list(found)}"
        )
    return {**tensors, **settings, "metadata": metadata}


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FormatError(f"{path}: no such file; an SAE is a folder that holds {CONFIG} and {WEIGHTS}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError(f"{path}: cannot be read as JSON: {error}") from None
    missing = [key for key in ("architecture", "d_in", "d_sae", "apply_b_dec_to_input") if key not in config]
    if missing:
        raise FormatError(f"{path}: not the configuration of an SAE, it lacks {', '.join(missing)}")
    if config["architecture"] not in _OURS:
        raise FormatError(f"{path}: architecture {config['architecture']!r} is not known; known: {', '.join(_OURS)}")
    for key in ("normalize_activations", "reshape_activations"):
        if config.get(key, "none") != "none":
            raise FormatError(f"{path}: {key} is {config[key]!r}; only SAEs with 'none' can be read")
    if config.get("rescale_acts_by_decoder_norm"):
        raise FormatError(f"{path}: rescale_acts_by_decoder_norm is set; only SAEs without it can be read")
    version = (config.get("metadata") or {}).get("universality", {}).get("version", VERSION)
    if version != VERSION:
        raise FormatError(f"{path}: version {version} of this layout; this program reads version {VERSION}")
    return dict(config)


def _read_weights(path: Path, names: tuple[str, ...], expected: str | None) -> dict[str, Tensor]:
    try:
        if expected is not None and (found := hashlib.sha256(path.read_bytes()).hexdigest()) != expected:
            raise FormatError(f"{path}: SHA-256 {found[:12]}…, {CONFIG} says {expected[:12]}…; the file was changed")
        tensors = load_file(path)
    except FileNotFoundError:
        raise FormatError(f"{path}: no such file; an SAE is a folder that holds {CONFIG} and {WEIGHTS}") from None
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{path}: cannot be read as safetensors: {error}") from None
    if set(tensors) != set(names):
        raise FormatError(f"{path}: expected the tensors {', '.join(names)}, found {', '.join(sorted(tensors))}")
    return {name: tensors[name].to(torch.float32) for name in names}


def _replace(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise

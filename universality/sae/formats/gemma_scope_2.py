"""Gemma Scope 2: ``config.json`` and ``params.safetensors``, JumpReLU.

    w_enc [d_in, d_sae]    b_enc [d_sae]    w_dec [d_sae, d_out]    b_dec [d_out]    threshold [d_sae]

    a = ReLU(z) · H(z − threshold) with z = w_encᵀ x + b_enc,    x̂ = w_decᵀ a + b_dec

The configuration names the module of the Hugging Face model that is read (``hf_hook_point_in``) and the one that is
written (``hf_hook_point_out``); for an SAE they are one. Some folders of the release have no configuration. Their names
then tell the site, as SAELens infers it: ``resid_post_all/layer_9_width_16k_l0_small``. Transcoders have the same files
and may have ``affine_skip_connection`` [d_in, d_out], which adds x @ affine_skip_connection to the output. Crosscoders
and cross-layer transcoders are split into ``params_layer_N.safetensors``, with an axis of layers in ``w_dec``.
"""

from __future__ import annotations

import re
from pathlib import Path

from universality.checked_json import Settings
from universality.errors import FormatError
from universality.sae.formats.fields import Fields, chosen, expect, matrix, threshold_by_feature
from universality.sae.formats.safetensors_file import read_safetensors
from universality.sae.formats.source import Source
from universality.sae.formats.transcoder import refuse_transcoder

CONFIG, WEIGHTS = "config.json", "params.safetensors"
NAME = f"Gemma Scope 2 ({CONFIG}, {WEIGHTS})"
_LAYERS = re.compile(r"params_layer_\d+\.safetensors")
_FOLDER = re.compile(r"(resid_post|attn_out|mlp_out|transcoder)(?:_all)?/layer_(\d+)_")
_SKIP = "affine_skip_connection"
_READ = {
    "resid_post": "model.layers.{}.output",
    "attn_out": "model.layers.{}.self_attn.o_proj.input",
    "mlp_out": "model.layers.{}.post_feedforward_layernorm.output",
    "transcoder": "model.layers.{}.pre_feedforward_layernorm.output",
}
"""Module that an SAE or transcoder of the release reads, by the folder's name."""
_WRITTEN = {"transcoder": "model.layers.{}.post_feedforward_layernorm.output"}
"""Module that is written, where it is another."""


def recognise(source: Source) -> bool:
    """Recognise a folder by its weights, which may be split by layer, or one of these files."""
    return source.holds(WEIGHTS) or source.holds(CONFIG, WEIGHTS) or _split(source) is not None


def read(source: Source) -> Fields:
    """Read the fields of an `SAE`."""
    if (split := _split(source)) is not None:
        raise FormatError(_several_layers(split))
    config = _config(source)
    transcoder = _is_transcoder(config)
    architecture = config.text("architecture", "jump_relu")
    if architecture != "jump_relu":
        raise FormatError(f"{config.where}: architecture {architecture!r} cannot be read; known: jump_relu")
    path = source / WEIGHTS
    tensors = {
        f"W_{name[2:]}" if name.startswith("w_") else name: tensor for name, tensor in read_safetensors(path).items()
    }
    if any(tensors[name].ndim == 3 for name in ("W_enc", "W_dec") if name in tensors):
        raise FormatError(_several_layers(path))
    (d_in, _), (d_sae, d_out) = matrix(tensors, path, "W_enc"), matrix(tensors, path, "W_dec")
    if not transcoder:
        refuse_transcoder({"d_in": d_in, "d_out": d_out}, path)
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (d_in, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d_out), "b_dec": (d_out,), "threshold": (d_sae,),
    }  # fmt: skip
    shapes |= {_SKIP: (d_in, d_out)} if transcoder and _SKIP in tensors else {}
    expect(tensors, path, shapes)
    return {
        **{name: tensor for name, tensor in tensors.items() if name != _SKIP},
        "W_skip": tensors.get(_SKIP),
        "transcoder": transcoder,
        "threshold": threshold_by_feature(tensors["threshold"], d_sae),
        "architecture": "jumprelu",
        "apply_b_dec_to_input": False,
        "metadata": {
            "file": "/".join(path.absolute().parts[-3:]),
            **chosen(config.values, "model_name", "hf_hook_point_in", "hf_hook_point_out", "l0", "type"),
        },
    }


def _is_transcoder(config: Settings) -> bool:
    """Tell whether the configuration names two sites.

    Raises
    ------
    FormatError
        If it says otherwise beside them.
    """
    into, out = config.text("hf_hook_point_in", ""), config.text("hf_hook_point_out", "")
    transcoder = bool(out) and out != into
    if (kind := config.text("type", "")) and (kind == "transcoder") != transcoder:
        raise FormatError(
            f"{config.where}: type is {kind!r}, hf_hook_point_in {into!r} and hf_hook_point_out {out!r}; expected two "
            "hook points of a transcoder, and one of an SAE"
        )
    return transcoder


def _config(source: Source) -> Settings:
    """Read the configuration, or infer its hook points from the names of the folders."""
    path = source / CONFIG
    if path.is_file():
        return Settings.read(path)
    folder = source.folder.absolute()
    match = _FOLDER.match("/".join(folder.parts[-2:]))
    if match is None:
        raise FormatError(
            f"{source / WEIGHTS}: without {CONFIG} it may be an SAE or a transcoder; download that file too, or keep "
            "the folders' names (resid_post_all/layer_9_width_16k_l0_small), which tell the site"
        )
    site, layer = match.groups()
    values = {"hf_hook_point_in": _READ[site].format(layer)}
    values |= {"hf_hook_point_out": _WRITTEN[site].format(layer)} if site in _WRITTEN else {}
    return Settings(values, f"{folder} (by its name)")


def _split(source: Source) -> Path | None:
    """First file of weights that are split by layer; None where there is none or the caller named another file."""
    if source.path.is_file():
        return source.path if _LAYERS.fullmatch(source.path.name) else None
    files = sorted(source.folder.iterdir()) if source.folder.is_dir() else []
    return next((file for file in files if _LAYERS.fullmatch(file.name)), None)


def _several_layers(path: Path) -> str:
    return (
        f"{path}: cannot be read: a crosscoder or cross-layer transcoder of Gemma Scope 2, whose features read or "
        "write several layers; its SAEs of one site can be read (resid_post, attn_out and mlp_out in the same "
        "repository)"
    )

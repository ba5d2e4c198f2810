"""Llamascopium, the library of Llama Scope: ``config.json`` and ``sae_weights.safetensors``.

    W_E [d_in, d_sae]    b_E [d_sae]    W_D [d_sae, d_in]    b_D [d_in]

    a = f(W_Eᵀ x + b_E) with f one of relu, jumprelu (log_jumprelu_threshold) and topk

The decoder's bias is not subtracted before encoding. The library encodes activations that were divided by their mean
norm over a data set and multiplied by √d_in (``norm_activation: dataset-wise``). That factor s is folded in, so that
codes are in the activations' own units, as after the library's own folding: ours(x) = theirs(s · x) / s. With
``sparsity_include_decoder_norm`` a feature is selected by its pre-activation times the norm of its decoder row:
jumprelu thresholds are divided by the norms; a topk SAE gets unit decoder rows, and its activations are those of the
library times the norms.

Before Llamascopium 2 (Llama Scope R1-Distill) the tensors were named ``encoder.weight`` [d_sae, d_in],
``decoder.weight`` [d_in, d_sae], ``encoder.bias``, ``decoder.bias`` and ``log_jumprelu_threshold``.

A transcoder has two hooks, and reconstructs activations that were multiplied by a factor t of their own data set.
Dividing its output by t, and its codes by s, gives rows of the decoder W_D s / t and the bias b_D / t.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from universality.checked_json import Settings
from universality.errors import FormatError
from universality.sae.formats.fields import Fields, chosen, expect, fold_decoder_norm
from universality.sae.formats.safetensors_file import read_safetensors
from universality.sae.formats.source import Source

CONFIG, WEIGHTS = "config.json", "sae_weights.safetensors"
NAME = f"Llamascopium ({CONFIG}, {WEIGHTS})"
_TYPES = {
    "clt": "a cross-layer transcoder's features write at many layers",
    "crosscoder": "a crosscoder reads several sites",
    "lorsa": "low-rank sparse attention is no SAE",
    "molt": "a mixture of linear transforms has a matrix for each feature",
}
_REFUSED = {"batchtopk": "without a threshold its codes depend on the batch; convert it to jumprelu in Llamascopium"}
_THRESHOLD = "activation_function.log_jumprelu_threshold"
_FORMER = {"encoder.bias": "b_E", "decoder.bias": "b_D", "log_jumprelu_threshold": _THRESHOLD}
_TURNED = {"encoder.weight": "W_E", "decoder.weight": "W_D"}
_NORM = "dataset_average_activation_norm."


def recognise(source: Source) -> bool:
    """Recognise a folder by its two files."""
    return source.holds(CONFIG, WEIGHTS)


def read(source: Source) -> Fields:
    """Read the fields of an `SAE`."""
    config = Settings.read(source / CONFIG)
    architecture = _check_architecture(config)
    d_in = config.integer("d_model")
    d_sae = int(d_in * config.number("expansion_factor"))
    path = source / WEIGHTS
    tensors = _renamed(read_safetensors(path))
    norms = {name: tensors.pop(name) for name in list(tensors) if name.startswith(_NORM)}
    biased = config.flag("use_decoder_bias", True)
    shapes: dict[str, tuple[int, ...]] = {"W_E": (d_in, d_sae), "b_E": (d_sae,), "W_D": (d_sae, d_in)}
    shapes |= {"b_D": (d_in,)} if biased else {}
    shapes |= {_THRESHOLD: (d_sae,)} if architecture == "jumprelu" else {}
    expect(tensors, path, shapes)
    into, out = config.text("hook_point_in"), config.text("hook_point_out")
    if into != out and config.text("norm_activation") == "token-wise":
        raise FormatError(
            f"{config.where}: norm_activation 'token-wise' of a transcoder cannot be read: its output has the units of "
            "the very activations that it reconstructs"
        )
    scale, scale_out = (_scale(config, path, norms, d_in, hook) for hook in (into, out))
    fields: Fields = {
        "W_enc": tensors["W_E"],
        "b_enc": tensors["b_E"] / scale,
        "W_dec": tensors["W_D"] if scale == scale_out else tensors["W_D"] * (scale / scale_out),
        "b_dec": tensors["b_D"] / scale_out if biased else torch.zeros(d_in),
        "architecture": architecture,
        "k": config.integer("top_k") if architecture == "topk" else None,
        "apply_b_dec_to_input": False,
        "normalize_activations": "constant_norm_rescale" if config.text("norm_activation") == "token-wise" else "none",
        "scale": scale,
        "metadata": chosen(config.values, "hook_point_in", "hook_point_out", "act_fn", "norm_activation"),
        "transcoder": into != out,
    }
    by_norm = config.flag("sparsity_include_decoder_norm", True)
    if architecture == "jumprelu":
        threshold = tensors[_THRESHOLD].exp() / scale
        fields["threshold"] = threshold / tensors["W_D"].norm(dim=1) if by_norm else threshold
    return fold_decoder_norm(fields) if architecture == "topk" and by_norm else fields


def _renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give tensors of earlier versions today's names, and matrices today's orientation."""
    if "encoder.weight" not in tensors:
        return tensors
    turned = {_TURNED.get(name, name): tensor.T if name in _TURNED else tensor for name, tensor in tensors.items()}
    return {_FORMER.get(name, name): tensor for name, tensor in turned.items()}


def _check_architecture(config: Settings) -> str:
    """Activation function of an SAE or a transcoder."""
    sae_type = config.text("sae_type", "sae")
    if sae_type != "sae":
        reason = _TYPES.get(sae_type, "only 'sae', which encodes one site, can")
        raise FormatError(f"{config.where}: sae_type {sae_type!r} cannot be read: {reason}")
    if config.flag("use_glu_encoder", False):
        raise FormatError(f"{config.where}: use_glu_encoder is set; it cannot be read: its pre-activations are gated")
    activation = config.text("act_fn").lower()
    if activation in _REFUSED:
        raise FormatError(f"{config.where}: act_fn {activation!r} cannot be read: {_REFUSED[activation]}")
    if activation not in ("relu", "jumprelu", "topk"):
        raise FormatError(f"{config.where}: act_fn {activation!r} is not known; known: relu, jumprelu, topk")
    return activation


def _scale(config: Settings, path: Path, norms: dict[str, Tensor], d_in: int, hook: str) -> float:
    """Factor by which the library multiplies the activations at a hook."""
    way = config.text("norm_activation")
    if way in ("inference", "token-wise"):
        return 1.0
    if way != "dataset-wise":
        raise FormatError(f"{config.where}: norm_activation {way!r} cannot be read: codes would depend on the batch")
    name = _NORM + hook
    norm = float(norms[name]) if name in norms and norms[name].ndim == 0 else math.nan
    if not 0 < norm < math.inf:
        raise FormatError(f"{path}: norm_activation is 'dataset-wise', which needs a number above 0 as {name}")
    return math.sqrt(d_in) / norm

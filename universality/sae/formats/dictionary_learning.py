"""dictionary_learning: ``config.json`` and ``ae.pt``, a state dict whose names depend on ``trainer.dict_class``.

- ``AutoEncoder``: ``bias``, ``encoder.weight`` [d_sae, d_in], ``encoder.bias``, ``decoder.weight`` [d_in, d_sae]. The
  library normalises decoder rows to unit norm on loading, and so does this module.
- ``AutoEncoderNew``: the same with ``decoder.bias``, which is not subtracted before encoding.
- ``AutoEncoderTopK``, ``BatchTopKSAE``: ``b_dec``, ``k`` and ``threshold`` beside encoder and decoder. The threshold is
  that of BatchTopK; TopK measures one too, but does not encode with it. TopK files of 2024 lack it, and before November
  they lack ``k`` as well, which ``config.json`` has.
- ``MatryoshkaBatchTopKSAE``: ``W_enc b_enc W_dec b_dec k threshold group_sizes``.
- ``JumpReluAutoEncoder``: ``W_enc b_enc W_dec b_dec threshold``; the bias is not subtracted.
- ``GatedAutoEncoder``: ``decoder_bias r_mag gate_bias mag_bias`` beside the weights of encoder and decoder. It is read
  as the JumpReLU SAE that it equals (`gated_as_jumprelu`); its decoder rows keep their norms, as in the library.
"""

from __future__ import annotations

from itertools import accumulate
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
    gated_as_jumprelu,
    threshold_by_feature,
)
from universality.sae.formats.source import Source
from universality.sae.formats.torch_file import only_tensors, read_torch

CONFIG, WEIGHTS = "config.json", "ae.pt"
NAME = f"dictionary_learning ({CONFIG}, {WEIGHTS})"
_ARCHITECTURES = {
    "AutoEncoder": "relu",
    "AutoEncoderNew": "relu",
    "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "batchtopk",
    "MatryoshkaBatchTopKSAE": "matryoshka",
    "JumpReluAutoEncoder": "jumprelu",
    "GatedAutoEncoder": "jumprelu",
}
_REFUSED = {"CrossCoder": "a crosscoder reads several sites at once; SAEs of one site can be read"}


def recognise(source: Source) -> bool:
    """Recognise a folder by its two files."""
    return source.holds(CONFIG, WEIGHTS)


def read(source: Source) -> Fields:
    """Read the fields of an `SAE`."""
    config = Settings.read(source / CONFIG)
    trainer, buffer = config.section("trainer"), config.section("buffer")
    if buffer.text("io", "out") == "in_and_out":
        raise FormatError(
            f"{buffer.where}: a transcoder cannot be read, it reads one site of a model and writes to another: io is "
            "'in_and_out'"
        )
    name = trainer.text("dict_class")
    if name in _REFUSED:
        raise FormatError(f"{config.where}: dict_class {name!r} cannot be read: {_REFUSED[name]}")
    if name not in _ARCHITECTURES:
        raise FormatError(f"{config.where}: dict_class {name!r} is not known; known: {', '.join(_ARCHITECTURES)}")
    path, d_in, d_sae = source / WEIGHTS, trainer.integer("activation_dim"), trainer.integer("dict_size")
    tensors = only_tensors(read_torch(path))
    group_sizes = tensors.pop("group_sizes", None)
    architecture, shapes = _ARCHITECTURES[name], _shapes(name, d_in, d_sae)
    if architecture in ("batchtopk", "matryoshka") and "threshold" not in tensors:
        raise FormatError(
            f"{path}: a {name} without a threshold, as saved in 2024, cannot be read: its codes would depend on the "
            "batch. Load it in dictionary_learning, measure its threshold there, and save it again"
        )
    added_later = {"k", "threshold"} - set(tensors) if architecture == "topk" else set()
    expect(tensors, path, {key: shape for key, shape in shapes.items() if key not in added_later})
    fields: Fields = {
        "architecture": architecture,
        **_weights(name, tensors),
        "apply_b_dec_to_input": name not in ("AutoEncoderNew", "JumpReluAutoEncoder"),
        "metadata": {
            "training": trainer.values,
            **chosen(buffer.values, "ctx_len", "d_submodule", "io"),
            **({"original_architecture": "gated"} if name == "GatedAutoEncoder" else {}),
        },
    }
    if "k" in shapes:
        fields["k"] = _k(path, tensors["k"], trainer) if "k" in tensors else trainer.integer("k")
    if "threshold" in shapes and architecture != "topk":
        fields["threshold"] = threshold_by_feature(tensors["threshold"], d_sae)
    if architecture == "matryoshka":
        fields["nested"] = _nested(path, group_sizes, d_sae)
    return _unit_decoder(fields) if name == "AutoEncoder" else fields


def _shapes(name: str, d_in: int, d_sae: int) -> dict[str, tuple[int, ...]]:
    if name in ("MatryoshkaBatchTopKSAE", "JumpReluAutoEncoder"):
        shapes: dict[str, tuple[int, ...]] = {
            "W_enc": (d_in, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,),
        }  # fmt: skip
        return shapes | ({"threshold": (d_sae,)} if name == "JumpReluAutoEncoder" else {"k": (), "threshold": ()})
    shapes = {"encoder.weight": (d_sae, d_in), "encoder.bias": (d_sae,), "decoder.weight": (d_in, d_sae)}
    bias: dict[str, dict[str, tuple[int, ...]]] = {
        "AutoEncoder": {"bias": (d_in,)},
        "AutoEncoderNew": {"decoder.bias": (d_in,)},
        "GatedAutoEncoder": {"decoder_bias": (d_in,), "r_mag": (d_sae,), "gate_bias": (d_sae,), "mag_bias": (d_sae,)},
    }
    if name == "GatedAutoEncoder":
        del shapes["encoder.bias"]
    return shapes | bias.get(name, {"b_dec": (d_in,), "k": (), "threshold": ()})


def _weights(name: str, tensors: dict[str, Tensor]) -> Fields:
    if name == "GatedAutoEncoder":
        gates = {"r_mag": tensors["r_mag"], "b_gate": tensors["gate_bias"], "b_mag": tensors["mag_bias"]}
        decoder = {"W_dec": tensors["decoder.weight"].T, "b_dec": tensors["decoder_bias"]}
        return decoder | gated_as_jumprelu({"W_enc": tensors["encoder.weight"].T, **gates})
    if "W_enc" in tensors:
        return {key: tensors[key] for key in ("W_enc", "b_enc", "W_dec", "b_dec")}
    bias = {"AutoEncoder": "bias", "AutoEncoderNew": "decoder.bias"}.get(name, "b_dec")
    return {
        "W_enc": tensors["encoder.weight"].T,
        "b_enc": tensors["encoder.bias"],
        "W_dec": tensors["decoder.weight"].T,
        "b_dec": tensors[bias],
    }


def _k(path: Path, stored: Tensor, trainer: Settings) -> int:
    if stored.is_floating_point():
        raise FormatError(f"{path}: k must be a whole number, found the {stored.dtype} {float(stored):g}")
    k = int(stored)
    if k != trainer.integer("k", k):
        raise FormatError(f"{trainer.where}: k is {trainer.integer('k')}, but {k} in {WEIGHTS}")
    return k


def _nested(path: Path, sizes: Any, d_sae: int) -> tuple[int, ...]:
    """Nested widths from the sizes of the groups, which the library stores."""
    groups = [] if sizes is None or sizes.ndim != 1 else sizes.tolist()
    if not groups or sum(groups) != d_sae:
        raise FormatError(f"{path}: group_sizes must be whole numbers that add up to d_sae = {d_sae}, found {groups}")
    return tuple(int(width) for width in accumulate(groups))[:-1]


def _unit_decoder(fields: Fields) -> Fields:
    norm = fields["W_dec"].norm(dim=1)
    # rows that have unit norm already keep their bytes
    return fields if torch.allclose(norm, torch.ones_like(norm)) else fold_decoder_norm(fields)

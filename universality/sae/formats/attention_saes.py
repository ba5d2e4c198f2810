"""Attention-output SAEs of Kissane, Krzyzanowski et al.: ``NAME.pt`` and ``NAME_cfg.json``.

    W_enc [d_in, d_sae]    b_enc [d_sae]    W_dec [d_sae, d_in]    b_dec [d_in]

ReLU of the concatenated heads of a token (``attn.hook_z``), with the decoder's bias subtracted before encoding. The
configuration has ``act_name``, ``act_size`` and ``dict_size``. Read as by SAELens.

Kissane, Krzyzanowski, Bloom, Conmy and Nanda 2024, *Interpreting Attention Layer Outputs with Sparse Autoencoders*.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TypeVar

from universality.checked_json import Settings
from universality.sae.formats.fields import Fields, chosen, expect
from universality.sae.formats.source import Source
from universality.sae.formats.torch_file import only_tensors, read_torch

NAME = "attention-output SAEs of Kissane et al. (the path of NAME.pt, beside NAME_cfg.json)"


_Path = TypeVar("_Path", bound=PurePath)


def configuration(path: _Path) -> _Path:
    """Path of the configuration that belongs to a file of weights."""
    return path.with_name(f"{path.name.removesuffix('.pt')}_cfg.json")


def recognise(source: Source) -> bool:
    """Recognise a file by the configuration beside it."""
    return source.is_file(".pt") and configuration(source.path).is_file()


def read(source: Source) -> Fields:
    """Read the fields of an `SAE`."""
    path = source.path
    config = Settings.read(configuration(path))
    d_in, d_sae = config.integer("act_size"), config.integer("dict_size")
    tensors = only_tensors(read_torch(path))
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (d_in, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,),
    }  # fmt: skip
    expect(tensors, path, shapes)
    return {
        **tensors,
        "architecture": "relu",
        "metadata": {"hook_name": config.text("act_name"), **chosen(config.values, "model_name", "seed", "l1_coeff")},
    }

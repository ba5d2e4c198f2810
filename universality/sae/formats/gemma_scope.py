"""Gemma Scope: one ``params.npz``, JumpReLU. Some files write ``w_enc`` for ``W_enc``.

    W_enc [d_in, d_sae]    b_enc [d_sae]    W_dec [d_sae, d_in]    b_dec [d_in]    threshold [d_sae]

The decoder's bias is not subtracted before encoding. Transcoders of Gemma Scope have the same files; only the name of
their repository distinguishes them, and that of a folder their layer. They read what the norm before the MLP gives
without its gain, and reconstruct what the MLP adds to the residual stream (its repository's README). The test is
``tests/sae/formats/test_gemma_scope.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch

from universality.errors import FormatError
from universality.sae.formats.fields import Fields, expect, matrix, threshold_by_feature
from universality.sae.formats.npz_file import read_npz
from universality.sae.formats.source import Source
from universality.sae.formats.transcoder import named_transcoder

WEIGHTS = "params.npz"
NAME = f"Gemma Scope ({WEIGHTS})"


def recognise(source: Source) -> bool:
    """Recognise a folder by its file, or a file by its suffix."""
    return source.is_file(".npz") or source.holds(WEIGHTS)


def read(source: Source) -> Fields:
    """Read the fields of an `SAE`."""
    path = source.path if source.path.is_file() else source / WEIGHTS
    # the last seven folders: owner or cache, repository, layer_*, width_*, average_l0_*
    folders = path.absolute().parts[-8:-1]
    transcoder = named_transcoder(folders) is not None
    tensors = {("W_" + name[2:] if name.startswith("w_") else name): array for name, array in read_npz(path).items()}
    scaling = tensors.pop("scaling_factor", None)
    if scaling is not None and not torch.equal(scaling, torch.ones_like(scaling)):
        raise FormatError(f"{path}: scaling_factor, of a finetuned SAE, is not 1; only SAEs without it can be read")
    d_sae, d_in = matrix(tensors, path, "W_dec")
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (d_in, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,), "threshold": (d_sae,),
    }  # fmt: skip
    expect(tensors, path, shapes)
    return {
        **tensors,
        "threshold": threshold_by_feature(tensors["threshold"], d_sae),
        "architecture": "jumprelu",
        "apply_b_dec_to_input": False,
        "metadata": {"file": "/".join(path.absolute().parts[-4:])} | (_hooks(folders) if transcoder else {}),
        "transcoder": transcoder,
    }


def _hooks(folders: Iterable[str]) -> dict[str, str]:
    """Hooks of a transcoder, from the folder of its layer."""
    layer = next((match[1] for folder in folders if (match := re.fullmatch(r"layer_(\d+)", folder))), None)
    if layer is None:
        return {}
    return {"hook": f"blocks.{layer}.ln2.hook_normalized", "hook_out": f"blocks.{layer}.hook_mlp_out"}

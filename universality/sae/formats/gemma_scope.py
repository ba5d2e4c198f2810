"""Gemma Scope: one ``params.npz``, JumpReLU. Some files write ``w_enc`` for ``W_enc``.

    W_enc [d_in, d_sae]    b_enc [d_sae]    W_dec [d_sae, d_in]    b_dec [d_in]    threshold [d_sae]

The decoder's bias is not subtracted before encoding. Transcoders of Gemma Scope have the same files; only the name of
their repository distinguishes them. They read what the norm before the MLP gives without its gain, and reconstruct what
the MLP adds to the residual stream (its repository's README). Hooks follow from the names of repository and folder, as
in SAELens: ``gemma-scope-2b-pt-res/layer_12/…``. The test is ``tests/sae/formats/test_gemma_scope.py``.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch

from universality.errors import FormatError
from universality.sae.formats.fields import Fields, expect, matrix, threshold_by_feature
from universality.sae.formats.npz_file import read_npz
from universality.sae.formats.source import Source
from universality.sae.formats.transcoder import named_transcoder

WEIGHTS = "params.npz"
NAME = f"Gemma Scope ({WEIGHTS})"
_HOOKS = {
    "res": "hook_resid_post",
    "mlp": "hook_mlp_out",
    "att": "attn.hook_z",
    "transcoders": "ln2.hook_normalized",
}
_PLACE = re.compile(r"(?:^|--|/)gemma-scope-(\w+-\w+)-(res|mlp|att|transcoders)/(?:.*/)?layer_(\d+)/")


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
        "metadata": {"file": "/".join(path.absolute().parts[-4:]), **_place(path)},
        "transcoder": transcoder,
    }


def _place(path: Path) -> dict[str, str]:
    """Model and hooks, from the folders' names; nothing if they were renamed."""
    match = _PLACE.search("/".join(path.absolute().parts[-8:]))
    if match is None:
        return {}
    block = f"blocks.{match[3]}"
    out = {"hook_name_out": f"{block}.hook_mlp_out"} if match[2] == "transcoders" else {}
    return {"model_name": f"gemma-2-{match[1]}", "hook_name": f"{block}.{_HOOKS[match[2]]}", **out}

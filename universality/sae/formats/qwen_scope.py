"""Qwen-Scope: one ``layerN.sae.pt`` a layer, TopK of the residual stream after block N.

    W_enc [d_sae, d_in]    b_enc [d_sae]    W_dec [d_in, d_sae]    b_dec [d_in]

The decoder's bias is not subtracted before encoding. The files do not hold k. The repository's name has it
(``SAE-Res-Qwen3-8B-Base-W64K-L0_50``: 50), and so does a ``config.json`` beside the files. Read as by SAELens.
"""

from __future__ import annotations

import re
from typing import Any

from universality.checked_json import Settings
from universality.errors import FormatError
from universality.sae.formats.fields import Fields, expect, matrix
from universality.sae.formats.source import Source
from universality.sae.formats.torch_file import only_tensors, read_torch

CONFIG = "config.json"
NAME = "Qwen-Scope (the path of one layerN.sae.pt)"
_FILE = re.compile(r"layer(\d+)\.sae\.pt")
_REPOSITORY = re.compile(r"SAE-Res-(.+)-W\d+K-L0_(\d+)")


def recognise(source: Source) -> bool:
    """Recognise a file by its name."""
    return source.is_file(".pt") and _FILE.fullmatch(source.path.name) is not None


def read(source: Source) -> Fields:
    """Read the fields of an `SAE`."""
    path, layer = source.path, _FILE.fullmatch(source.path.name)
    assert layer is not None
    tensors = only_tensors(read_torch(path))
    d_sae, d_in = matrix(tensors, path, "W_enc")
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (d_sae, d_in), "b_enc": (d_sae,), "W_dec": (d_in, d_sae), "b_dec": (d_in,),
    }  # fmt: skip
    expect(tensors, path, shapes)
    k, metadata = _repository(source)
    return {
        "W_enc": tensors["W_enc"].T,
        "b_enc": tensors["b_enc"],
        "W_dec": tensors["W_dec"].T,
        "b_dec": tensors["b_dec"],
        "architecture": "topk",
        "k": k,
        "apply_b_dec_to_input": False,
        "metadata": {"file": path.name, "hook_name": f"blocks.{layer[1]}.hook_resid_post", **metadata},
    }


def _repository(source: Source) -> tuple[int, dict[str, Any]]:
    """Return k and the model's name, from the names of the folders above or the configuration beside the file."""
    # the last four folders: in the hub's cache the repository is two above the files
    names = (_REPOSITORY.search(part) for part in source.path.absolute().parts[-5:-1])
    match = next((match for match in names if match), None)
    config = Settings.read(source / CONFIG) if (source / CONFIG).is_file() else Settings({}, str(source / CONFIG))
    if match is None and "k" not in config:
        raise FormatError(
            f"{source.path}: the file does not hold k; expected it in the name of a folder above, as in the "
            f"repository's (SAE-Res-Qwen3-8B-Base-W64K-L0_50), or as k in a {CONFIG} beside the file"
        )
    if match is None:
        return config.integer("k"), {}
    k = int(match[2])
    if config.integer("k", k) != k:
        raise FormatError(f"{config.where}: k is {config.integer('k')}, but {k} in the folder's name {match[0]}")
    return k, {"model_name": f"Qwen/{match[1]}"}

"""From a tool's tensors to the fields of an `SAE`: what several formats need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from universality.errors import FormatError

_SKIP = {"W_skip", "affine_skip_connection", "b_dec_out", "b_dec_in"}
Fields = dict[str, Any]
"""Keyword arguments of `SAE`."""


def expect(tensors: Mapping[str, Tensor], path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check that exactly these tensors are there, in these shapes.

    Raises
    ------
    FormatError
        If they are not.
    """
    if skip := sorted(_SKIP & set(tensors) - set(shapes)):
        raise FormatError(
            f"{path}: cannot be read: {', '.join(skip)} is the skip connection or output bias of a transcoder, which "
            "reads one site and writes to another"
        )
    if set(tensors) != set(shapes):
        raise FormatError(f"{path}: expected the tensors {', '.join(shapes)}, found {_listed(tensors)}")
    for name, shape in shapes.items():
        found = tuple(tensors[name].shape)
        if found != shape:
            raise FormatError(f"{path}: {name} must have shape {list(shape)}, found {list(found)}")


def matrix(tensors: Mapping[str, Tensor], path: Path, name: str) -> tuple[int, int]:
    """The shape of the tensor from which a format without a configuration takes its widths."""
    if name not in tensors:
        raise FormatError(f"{path}: expected a tensor {name}, found {_listed(tensors)}")
    shape = tuple(tensors[name].shape)
    if len(shape) != 2:
        raise FormatError(f"{path}: {name} must have two dimensions, found shape {list(shape)}")
    return shape[0], shape[1]


def _listed(tensors: Mapping[str, Tensor]) -> str:
    names = sorted(tensors)
    return ", ".join([*names[:12], *(["…"] if len(names) > 12 else [])]) or "none"


def threshold_by_feature(threshold: Tensor, d_sae: int) -> Tensor:
    """Thresholds [d_sae] of a tool that passes pre-activations through a ReLU too: none lies below 0."""
    return threshold.to(torch.float32).clamp_min(0).expand(d_sae)


def fold_decoder_norm(fields: Fields) -> Fields:
    """The same SAE with unit decoder rows, its activations multiplied by what the rows' norms were."""
    norm = fields["W_dec"].to(torch.float32).norm(dim=1).clamp_min(1e-8)
    folded = {
        "W_enc": fields["W_enc"] * norm,
        "b_enc": fields["b_enc"] * norm,
        "W_dec": fields["W_dec"] / norm[:, None],
    }
    if fields.get("threshold") is not None:
        folded["threshold"] = fields["threshold"] * norm
    return fields | folded


def fold_scale(fields: Fields, scale: float) -> Fields:
    """The same SAE in the activations' own units, where its weights are for activations times ``scale``.

    ours(x) = theirs(scale · x) / scale, for activation functions with f(s · z) = s · f(z), as all here are.
    """
    biases = ("b_enc", "b_dec", "threshold")
    return fields | {name: fields[name] / scale for name in biases if fields.get(name) is not None} | {"scale": scale}


def chosen(settings: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Those of a configuration's entries that say what an SAE was made from."""
    return {key: settings[key] for key in keys if settings.get(key) is not None}

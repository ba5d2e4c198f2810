"""Conversion of a tool's tensors to the fields of an `SAE`, for several formats."""

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
    """Check that a file has exactly these tensors, with these shapes.

    Raises
    ------
    FormatError
        If a tensor is missing, unexpected or of another shape.
    """
    if skip := sorted(_SKIP & set(tensors) - set(shapes)):
        raise FormatError(
            f"{path}: cannot be read: {', '.join(skip)} is the skip connection or output bias of a transcoder, and "
            "its configuration does not say that it is one"
        )
    if set(tensors) != set(shapes):
        raise FormatError(f"{path}: expected the tensors {', '.join(shapes)}, found {_listed(tensors)}")
    for name, shape in shapes.items():
        actual = tuple(tensors[name].shape)
        if actual != shape:
            raise FormatError(f"{path}: {name} must have shape {list(shape)}, found {list(actual)}")


def matrix(tensors: Mapping[str, Tensor], path: Path, name: str) -> tuple[int, int]:
    """Shape of the matrix that gives the widths, in a format without a configuration."""
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
    """Thresholds [d_sae] for a tool that also passes pre-activations through a ReLU: none is below 0."""
    return threshold.to(torch.float32).clamp_min(0).expand(d_sae)


def fold_decoder_norm(fields: Fields) -> Fields:
    """Give an SAE unit decoder rows; its activations are multiplied by the former norms of the rows."""
    # exact for activations with f(s z) = s f(z), as all of these tools have
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
    """Convert an SAE for activations times ``scale`` to the activations' own units.

    ours(x) = theirs(scale · x) / scale, for activation functions with f(s z) = s f(z), as all here are.
    """
    biases = ("b_enc", "b_dec", "threshold")
    return fields | {name: fields[name] / scale for name in biases if fields.get(name) is not None} | {"scale": scale}


def chosen(settings: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Entries of a configuration that are kept as provenance."""
    return {key: settings[key] for key in keys if settings.get(key) is not None}

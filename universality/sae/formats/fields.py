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


def gated_as_jumprelu(weights: Mapping[str, Tensor]) -> Fields:
    """Convert a gated encoder to the JumpReLU one that computes the same codes.

    A gated SAE has two sets of biases and a scale exp(r) of each feature; with u = W_encᵀ x,

        a = H(u + b_gate) · ReLU(exp(r) u + b_mag)

    Let z = exp(r) u + b_mag be the pre-activation of the magnitude. The gate is open where u > −b_gate, that is where
    z > b_mag − exp(r) b_gate. So a = z · H(z − θ) with θ = max(0, b_mag − exp(r) b_gate): a JumpReLU with encoder
    exp(r) W_enc and bias b_mag, exact but for rounding. The equivalence is that of Rajamanoharan et al. 2024,
    *Improving Dictionary Learning with Gated Sparse Autoencoders*.

    Parameters
    ----------
    weights
        ``W_enc`` [d_in, d_sae], ``r_mag``, ``b_gate`` and ``b_mag`` [d_sae].
    """
    gain = weights["r_mag"].exp()
    return {
        "W_enc": weights["W_enc"] * gain,
        "b_enc": weights["b_mag"],
        "threshold": (weights["b_mag"] - gain * weights["b_gate"]).clamp_min(0),
        "architecture": "jumprelu",
    }


def fold_output_scale(fields: Fields, factor: Tensor) -> Fields:
    """Fold a factor [d_sae] that multiplies activations before they are decoded into the decoder's rows."""
    return fields | {"W_dec": fields["W_dec"] * factor[:, None]}


def fold_centring(fields: Fields) -> Fields:
    """Convert an SAE for activations less their mean over d_in to one for the activations as they are.

    With P = I − 1 1ᵀ / d_in the SAE gets P x. The encoder becomes P W_enc, and b_dec is subtracted in the bias:
    W_encᵀ (P x − b_dec) + b_enc = (P W_enc)ᵀ x + (b_enc − W_encᵀ b_dec).
    """
    encoder = fields["W_enc"]
    folded: Fields = {"W_enc": encoder - encoder.mean(dim=0), "apply_b_dec_to_input": False}
    if fields.get("apply_b_dec_to_input", True):
        folded["b_enc"] = fields["b_enc"] - fields["b_dec"] @ encoder
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

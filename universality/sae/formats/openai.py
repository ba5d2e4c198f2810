"""OpenAI's sparse_autoencoder: one ``.pt`` state dict.

    encoder.weight [d_sae, d_in]    latent_bias [d_sae]    decoder.weight [d_in, d_sae]    pre_bias [d_in]

``activation`` is ReLU or TopK, with ``k`` in ``activation_state_dict``. As in the library, TopK implies that each token
is normalised (its mean subtracted, then divided by its standard deviation).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from universality.errors import FormatError
from universality.sae.formats.fields import Fields, expect, matrix
from universality.sae.formats.source import Source
from universality.sae.formats.torch_file import only_tensors, read_torch

NAME = "OpenAI's sparse_autoencoder (the path of one .pt file)"
_STATISTICS = ("stats_last_nonzero", "latents_activation_frequency", "latents_mean_square")


def recognise(source: Source) -> bool:
    """Recognise a file by its suffix."""
    return source.is_file(".pt")


def read(source: Source) -> Fields:
    """Read the fields of an `SAE`."""
    path = source.path
    state = read_torch(path)
    activation = state.get("activation", "ReLU")
    if not isinstance(activation, str) or activation not in ("ReLU", "TopK"):
        raise FormatError(f"{path}: activation {_shown(activation)} cannot be read; known: ReLU, TopK")
    tensors = {name: tensor for name, tensor in only_tensors(state).items() if name not in _STATISTICS}
    d_sae, d_in = matrix(tensors, path, "encoder.weight")
    shapes: dict[str, tuple[int, ...]] = {
        "pre_bias": (d_in,), "encoder.weight": (d_sae, d_in), "latent_bias": (d_sae,), "decoder.weight": (d_in, d_sae),
    }  # fmt: skip
    expect(tensors, path, shapes)
    return {
        "W_enc": tensors["encoder.weight"].T,
        "b_enc": tensors["latent_bias"],
        "W_dec": tensors["decoder.weight"].T,
        "b_dec": tensors["pre_bias"],
        "architecture": "topk" if activation == "TopK" else "relu",
        "k": _k(path, state) if activation == "TopK" else None,
        "normalize_activations": "layer_norm" if activation == "TopK" else "none",
        "metadata": {"file": path.name},
    }


def _k(path: Path, state: dict[str, Any]) -> int:
    settings = state.get("activation_state_dict")
    k = settings.get("k") if isinstance(settings, dict) else None
    if isinstance(k, bool) or not isinstance(k, int):
        raise FormatError(f"{path}: activation_state_dict of a TopK must hold k, a whole number; found {_shown(k)}")
    after = settings.get("postact_fn", "ReLU") if isinstance(settings, dict) else "ReLU"
    if not isinstance(after, str) or after != "ReLU":
        raise FormatError(f"{path}: TopK with postact_fn {_shown(after)}; its activations may be negative")
    return k


def _shown(value: Any) -> str:
    """Short text for a value of any type."""
    # repr of lists nested deeply enough, which a pickle may hold, would exceed the recursion limit
    return repr(value[:60]) if isinstance(value, str) else f"of type {type(value).__name__}"

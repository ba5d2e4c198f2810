"""Hash of a model's weights, which identifies the model; also for saved models, without building them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from universality.errors import ModelError
from universality.files import as_path


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """Return the sha256 of names, shapes and float32 values."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().data)  # no second copy of a large tensor
    return digest.hexdigest()


def saved_hash(folder: str | Path) -> str:
    """Return ``LanguageModel.hash`` of a model that `save_model` wrote, without building it.

    Raises
    ------
    ModelError
        If the weights are missing, truncated or corrupt.
    """
    path = as_path(folder) / "model.safetensors"
    try:
        return weights_hash(load_file(path))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: not the weights of a model saved here: {error}") from None

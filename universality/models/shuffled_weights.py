"""Control models: language models whose weights are permuted within each tensor."""

import numpy as np
import torch

from universality.models.language_model import LanguageModel, load_model, weights
from universality.models.weights_hash import weights_hash


def shuffled(source: str, seed: int, name: str | None = None) -> LanguageModel:
    """Load a model and permute the entries of each weight tensor.

    Each tensor keeps the distribution of its values, so activations keep about their size, but nothing learnt remains.
    Features that such models share come from the tokens and the architecture alone.

    Parameters
    ----------
    source
        See `load_model`.
    seed
        Seed for the permutations.
    name
        Name of the result; by default the model's name followed by "-shuffled".

    Raises
    ------
    ModelError
        See `load_model`.
    """
    model = load_model(source, name)
    rng, before = np.random.default_rng(seed), weights_hash(weights(model.bridge))
    with torch.no_grad():
        for _, tensor in sorted(weights(model.bridge).items()):  # by name: one seed gives one model
            order = torch.from_numpy(rng.permutation(tensor.numel()))
            tensor.copy_(tensor.flatten()[order.to(tensor.device)].view_as(tensor))
    metadata = {"shuffled": {"source": str(model.metadata.get("source", source)), "seed": seed, "hash": before}}
    return LanguageModel(model.bridge, name or f"{model.name}-shuffled", metadata)

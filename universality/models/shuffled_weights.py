"""A control: a language model that has kept its weights but not their places."""

import numpy as np
import torch

from universality.models.language_model import LanguageModel, load_model, weights
from universality.models.weights_hash import weights_hash


def shuffled(source: str, seed: int, name: str | None = None) -> LanguageModel:
    """A model with the entries of every weight tensor in random order.

    Each tensor keeps the distribution of its values, so activations stay of about their size, but nothing that was
    learnt is left: features that such models share come from the tokens and the architecture alone.

    Parameters
    ----------
    source
        As for `load_model`.
    seed
        Of the order.
    name
        What to call it; "shuffled" behind the model's own name by default.

    Raises
    ------
    ModelError
        As `load_model`.
    """
    model = load_model(source, name)
    rng, before = np.random.default_rng(seed), weights_hash(weights(model.bridge))
    with torch.no_grad():
        for _, tensor in sorted(weights(model.bridge).items()):
            order = torch.from_numpy(rng.permutation(tensor.numel()))
            tensor.copy_(tensor.flatten()[order.to(tensor.device)].view_as(tensor))
    metadata = {"shuffled": {"source": str(model.metadata.get("source", source)), "seed": seed, "hash": before}}
    return LanguageModel(model.bridge, name or f"{model.name}-shuffled", metadata)

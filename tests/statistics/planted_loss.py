"""A small model whose loss depends on ten of its 64 neurons, and SAEs that reconstruct its neurons exactly."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from universality.activations import ModelSite
from universality.corpus import TokenBlocks, build_corpus
from universality.effects import ModelFeatures
from universality.features import FeatureStore
from universality.features.collection import collect
from universality.matching import Match, match
from universality.models.forward import to_device
from universality.models.language_model import LanguageModel, new_model
from universality.models.model_settings import ModelArchitecture
from universality.sae import SAE
from universality.similarity import Similarity
from universality.statistics import evaluation_halves

D_MLP, N_MATTER = 64, 10
MATTER = np.concatenate([np.arange(N_MATTER), D_MLP + np.arange(N_MATTER)])
"""Features of `neuron_sae` that the loss depends on."""
HOOK = "blocks.0.mlp.hook_post"


def planted_blocks() -> TokenBlocks:
    """Up to four blocks of each held-out document."""
    whole = build_corpus(max_documents=60, tokenizer="train", d_vocab=300, n_ctx=32, held_out=0.5).blocks
    held_out = np.isin(np.asarray(whole.documents.split)[whole.document], ("choose", "report"))
    taken = [np.flatnonzero(whole.document == d)[:4] for d in np.unique(whole.document[held_out])]
    return whole.take(np.concatenate(taken))


def planted_model(blocks: TokenBlocks) -> LanguageModel:
    """One layer, whose first ten neurons were trained to predict; the others write nothing."""
    architecture = ModelArchitecture(n_layers=1, d_model=32, n_heads=2, d_mlp=D_MLP)
    model = new_model(architecture, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=0, name="A")
    out = model.bridge.blocks[0].mlp.out.original_component
    rows = out.weight.shape[0] == D_MLP  # a Conv1D stores [d_mlp, d_model], a Linear the transpose
    mask = torch.zeros_like(out.weight)
    mask[(slice(N_MATTER),) if rows else (slice(None), slice(N_MATTER))] = 1
    with torch.no_grad():
        out.weight.mul_(mask)
    optimizer = torch.optim.Adam([out.weight], lr=0.03)
    tokens, text = to_device(blocks, model.device)
    for _ in range(40):
        logits = model.bridge.run_with_hooks(tokens, fwd_hooks=[], return_type="logits")
        follows = text[:, 1:]
        loss = torch.nn.functional.cross_entropy(logits[:, :-1][follows], tokens[:, 1:][follows])
        (gradient,) = torch.autograd.grad(loss, [out.weight])
        out.weight.grad = gradient * mask
        optimizer.step()
    return model


def neuron_sae(mean: torch.Tensor, basis: torch.Tensor | None = None, scale: float = 1.0) -> SAE:
    """SAE of two features for each direction of a basis, for what lies above the mean and below it: x̂ = x."""
    rows = torch.eye(D_MLP) if basis is None else basis
    both = torch.cat([rows, -rows])
    if basis is not None:  # in another order, as of an SAE that was trained from other weights
        both = both[torch.randperm(2 * D_MLP, generator=torch.Generator().manual_seed(1))]
    return SAE(both.T * scale, torch.zeros(2 * D_MLP), both / scale, mean, architecture="relu")


def rotated(neurons: slice, seed: int = 0) -> torch.Tensor:
    """The neurons as they are, except some that are rotated among each other: [d_mlp, d_mlp]."""
    basis = torch.eye(D_MLP)
    n = len(range(D_MLP)[neurons])
    draw = torch.randn(n, n, generator=torch.Generator().manual_seed(seed))
    basis[neurons, neurons] = torch.linalg.qr(draw)[0]
    return basis


@dataclass
class Planted:
    """The model, its SAE and stores of it and of two other dictionaries."""

    site: ModelSite
    blocks: TokenBlocks
    sae: SAE
    folder: Path
    stores: dict[str, FeatureStore]
    saes: dict[str, SAE]

    def features(self, name: str) -> ModelFeatures:
        """Features of one dictionary."""
        return ModelFeatures(self.site, self.saes[name], self.stores[name], self.blocks)

    def match(self, other: str) -> Match:
        """Match the SAE's features with those of another dictionary on the choosing half."""
        a, b = self.stores["own"], self.stores[other]
        return match(Similarity.activation(a, b).restrict(evaluation_halves(a).choose))


def plant(folder: Path) -> Planted:
    """Make "shared", which has the features that matter (others rotated), and "other", which has only the others."""
    blocks = planted_blocks()
    site = ModelSite(planted_model(blocks), HOOK)
    mean = site.read(blocks.select("choose")).mean(dim=0)
    saes = {
        "own": neuron_sae(mean),
        "shared": neuron_sae(mean, rotated(slice(N_MATTER, None)), scale=2.0),
        "other": neuron_sae(mean, rotated(slice(N_MATTER)), scale=2.0),
    }
    collect(site, {folder / f"{name}.h5": sae for name, sae in saes.items()}, blocks, mantissa_bits=23)
    stores = {name: FeatureStore.open(folder / f"{name}.h5") for name in saes}
    return Planted(site, blocks, saes["own"], folder, stores, saes)

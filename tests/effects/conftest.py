"""Small models of two layers with random SAEs, and text that they read."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from universality.activations import ModelSite
from universality.corpus import TokenBlocks, build_corpus
from universality.effects.model_features import ModelFeatures
from universality.features import FeatureStore
from universality.features.collection import collect
from universality.models.language_model import LanguageModel, new_model
from universality.models.model_settings import ModelArchitecture
from universality.models.vocabulary import Vocabulary
from universality.sae import SAE

STREAM = "blocks.0.hook_resid_post"
ARCHITECTURE = ModelArchitecture(n_layers=2, d_model=32, n_heads=2, d_mlp=64)


def random_sae(d_in: int, d_sae: int, seed: int, k: int = 4) -> SAE:
    """Topk SAE with random unit decoder rows, whose encoder is its transpose."""
    rows = torch.randn(d_sae, d_in, generator=torch.Generator().manual_seed(seed))
    rows /= rows.norm(dim=1, keepdim=True)
    return SAE(rows.T.contiguous(), torch.zeros(d_sae), rows, torch.zeros(d_in), architecture="topk", k=k)


@pytest.fixture(scope="session")
def blocks() -> TokenBlocks:
    """Blocks of held-out text, some of them short."""
    whole = build_corpus(max_documents=30, tokenizer="train", d_vocab=300, n_ctx=32, held_out=0.4).blocks
    part = whole.select("choose", "report")
    short = np.flatnonzero(part.length < part.n_ctx)[:3]
    assert short.size == 3
    return part.take(np.concatenate([np.arange(20), short]))


@pytest.fixture(scope="session")
def model(blocks: TokenBlocks) -> LanguageModel:
    return new_model(ARCHITECTURE, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=0, name="A")


@pytest.fixture(scope="session")
def site(model: LanguageModel) -> ModelSite:
    return ModelSite(model, STREAM)


@pytest.fixture(scope="session")
def sae(site: ModelSite) -> SAE:
    return random_sae(site.d_in, 48, seed=1)


def collected(
    folder: Path, site: ModelSite, sae: SAE, blocks: TokenBlocks, vocabulary: Vocabulary | None = None
) -> ModelFeatures:
    """Collect an SAE's features on blocks, with the unembedding beside them."""
    unembedding = replace(site.unembedding(blocks, min_count=0), vocabulary=vocabulary)
    path = folder / f"{site.name}.h5"
    collect(site, {path: sae}, blocks, unembedding=unembedding)
    return ModelFeatures(site, sae, FeatureStore.open(path), blocks)


@pytest.fixture(scope="session")
def features(
    site: ModelSite, sae: SAE, blocks: TokenBlocks, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelFeatures]:
    """Features of the random SAE, of which 47 never fires."""
    b_enc = sae.b_enc.clone()
    b_enc[47] = -1e6
    made = collected(tmp_path_factory.mktemp("effects"), site, replace(sae, b_enc=b_enc), blocks)
    yield made
    made.store.close()


@pytest.fixture(scope="session")
def one_layer(blocks: TokenBlocks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModelFeatures]]:
    """Two models of one layer at the hidden units of the MLP, behind which positions do not meet."""
    made = {}
    for seed, name in enumerate("AB"):
        model = new_model(
            replace(ARCHITECTURE, n_layers=1), d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=seed, name=name
        )
        at = ModelSite(model, "blocks.0.mlp.hook_post")
        made[name] = collected(tmp_path_factory.mktemp(name), at, random_sae(at.d_in, 40, seed=5 + seed), blocks)
    yield made
    for side in made.values():
        side.store.close()

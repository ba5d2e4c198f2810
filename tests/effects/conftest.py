"""Small models of two layers with random SAEs, and text that they read."""

import numpy as np
import pytest
import torch

from universality.activations import ModelSite
from universality.corpus import TokenBlocks, build_corpus
from universality.models.language_model import LanguageModel, new_model
from universality.models.model_settings import ModelArchitecture
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

"""A small corpus, and two untrained models that read it."""

import pytest

from universality.activations import ModelSite
from universality.corpus import TokenBlocks, build_corpus
from universality.models.language_model import LanguageModel, new_model
from universality.models.model_settings import ModelArchitecture

HOOK = "blocks.0.mlp.hook_post"


@pytest.fixture(scope="session")
def blocks() -> TokenBlocks:
    return build_corpus(max_documents=30, tokenizer="train", d_vocab=300, n_ctx=32, held_out=0.4).blocks


@pytest.fixture(scope="session")
def models(blocks) -> dict[str, LanguageModel]:
    architecture = ModelArchitecture(d_model=32, n_heads=2, d_mlp=64)
    return {
        name: new_model(architecture, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=seed, name=name)
        for seed, name in enumerate("AB")
    }


@pytest.fixture(scope="session")
def sites(models) -> dict[str, ModelSite]:
    return {name: ModelSite(model, HOOK) for name, model in models.items()}

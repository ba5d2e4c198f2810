"""A tiny corpus and architecture, trained in about a second."""

import pytest

from universality.config import ArchitectureConfig
from universality.corpus import TokenBlocks, build_corpus


@pytest.fixture(scope="session")
def blocks() -> TokenBlocks:
    return build_corpus(max_documents=24, tokenizer="train", d_vocab=300, n_ctx=32, held_out=0.4).blocks


@pytest.fixture(scope="session")
def architecture() -> ArchitectureConfig:
    return ArchitectureConfig(d_model=32, n_heads=2, d_mlp=64)

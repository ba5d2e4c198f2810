"""A small corpus, and two untrained models that read it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from universality.activations import (
    CachedSite,
    ModelSite,
    cache_writer,
    write_cache,
)
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


@pytest.fixture(scope="session")
def small_corpus(blocks) -> TokenBlocks:
    """A small corpus of its own, some of whose blocks are short."""
    part = blocks.take(np.concatenate([np.arange(150), np.flatnonzero(blocks.length < blocks.n_ctx)[-10:]]))
    return TokenBlocks(part.tokens, part.length, part.document, part.documents, part.d_vocab, part.tokenizer_hash)


@pytest.fixture(scope="session")
def cached(sites, small_corpus, tmp_path_factory: pytest.TempPathFactory) -> CachedSite:
    """Several shards, the last of them short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_writer, "SHARD_BYTES", 300_000)
        return write_cache(tmp_path_factory.mktemp("cache"), sites["A"], small_corpus, say=lambda line: None)


@pytest.fixture
def copy(cached: CachedSite, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cached.folder, tmp_path / "copy"))

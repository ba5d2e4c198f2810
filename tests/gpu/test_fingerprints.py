"""Fingerprints and mean Jacobians on a CUDA card are those of the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

pytest.importorskip("transformer_lens")

from universality.activations import ModelSite
from universality.corpus import TokenBlocks, build_corpus
from universality.effects import (
    FingerprintSettings,
    ModelFeatures,
    TokenSet,
    ablation_fingerprints,
    addition_fingerprints,
    jacobian_spread,
    mean_jacobian,
    random_positions,
)
from universality.features import FeatureStore
from universality.features.collection import collect
from universality.models.language_model import LanguageModel, new_model
from universality.models.model_settings import ModelArchitecture
from universality.sae import SAE

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.fixture(scope="module")
def blocks() -> TokenBlocks:
    whole = build_corpus(max_documents=30, tokenizer="train", d_vocab=300, n_ctx=32, held_out=0.4).blocks
    return whole.select("choose", "report").take(np.arange(20))


@pytest.fixture(scope="module", params=["blocks.0.hook_resid_post", "blocks.1.mlp.hook_post"])
def sides(request, blocks: TokenBlocks, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelFeatures]:
    """Features of one model on the CPU and on the card, in front of a layer and behind the last attention."""
    made: dict[str, ModelFeatures] = {}
    for device in ("cpu", "cuda"):
        made[device] = _features(request.param, device, blocks, tmp_path_factory.mktemp(device))
    return made


def _features(hook: str, device: str, blocks: TokenBlocks, folder: Path) -> ModelFeatures:
    shape = ModelArchitecture(n_layers=2, d_model=32, n_heads=2, d_mlp=64)
    model: LanguageModel = new_model(shape, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=0, name="A")
    site = ModelSite(model, hook)
    rows = torch.nn.functional.normalize(torch.randn(48, site.d_in, generator=torch.Generator().manual_seed(1)))
    sae = SAE(rows.T.contiguous(), torch.zeros(48), rows, torch.zeros(site.d_in), architecture="topk", k=4)
    collect(site, {folder / "a.h5": sae}, blocks)
    model.bridge.to(device)
    return ModelFeatures(site, sae.to(device), FeatureStore.open(folder / "a.h5"), blocks)


@pytest.mark.parametrize("later", [False, True])
def test_fingerprints(sides: dict[str, ModelFeatures], blocks: TokenBlocks, later: bool) -> None:
    tokens, settings = TokenSet.of(np.arange(250), np.ones(250)), FingerprintSettings(later=later, silent=True)
    positions = random_positions(blocks, 5)
    for make in (
        lambda side: ablation_fingerprints(side, tokens, settings=settings),
        lambda side: addition_fingerprints(side, tokens, positions, settings=settings),
    ):
        cpu, card = (make(side) for side in sides.values())
        assert sides["cuda"].site.device.type == "cuda"
        assert abs(cpu.values).max() > 0.01
        assert_allclose(card.values, cpu.values, atol=1e-3)
        assert make(sides["cuda"]).values.tobytes() == card.values.tobytes()  # sums have a fixed order


def test_mean_jacobians(sides: dict[str, ModelFeatures], blocks: TokenBlocks) -> None:
    cpu, card = (mean_jacobian(side.site, blocks, silent=True) for side in sides.values())
    assert_allclose(card.matrix, cpu.matrix, atol=1e-4)
    there, here = jacobian_spread(card, sides["cuda"]), jacobian_spread(cpu, sides["cpu"])
    assert_allclose(there.cosine, here.cosine, atol=1e-3)

"""Effects on a CUDA card are those of the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def test_first_order_and_exact_effects_are_those_computed_by_hand(tmp_path: Path) -> None:
    pytest.importorskip("transformer_lens")
    from tests.effects.planted import planted
    from universality.activations import ModelSite
    from universality.effects import ModelFeatures, collect_effects, exact_effects
    from universality.features import FeatureStore
    from universality.features.collection import collect
    from universality.models.language_model import move_model

    pair = planted({"same": 4, "mlp": 4, "attention": 4, "curved": 4, "hidden": 4})
    site = ModelSite(move_model(pair.a.site.model), pair.a.site.hook)
    sae = pair.a.sae.to(site.device)
    assert site.device.type == "cuda"
    collect(site, {tmp_path / "a.h5": sae}, pair.blocks)
    collect_effects(site, {tmp_path / "e.h5": sae}, pair.blocks)
    with FeatureStore.open(tmp_path / "a.h5") as activations, FeatureStore.open(tmp_path / "e.h5") as effects:
        np.testing.assert_allclose(effects.csr().toarray(), pair.a.first_order(pair.blocks), atol=1e-4)
        result = exact_effects(ModelFeatures(site, sae, activations, pair.blocks), effects, n=200)
    by_hand = pair.a.exact(pair.blocks, result.firings.row, result.firings.feature)
    np.testing.assert_allclose(result.exact, by_hand, atol=1e-3)
    collect_effects(site, {tmp_path / "n.h5": None}, pair.blocks)
    with FeatureStore.open(tmp_path / "n.h5") as effects:
        assert effects.n_stored > 0

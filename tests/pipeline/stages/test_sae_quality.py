"""Quality of SAEs whose answer is known: one that reconstructs everything, and one that reconstructs nothing."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from universality.config import parse_config
from universality.corpus import TokenBlocks
from universality.corpus.blocks import cut_blocks
from universality.corpus.documents import DocumentTable
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.sae_quality import measure_quality
from universality.sae import SAE


class NormSite:
    """A site of two activations a token whose model loses the distance between them and what replaces them."""

    name, d_in, device, model_hash = "A", 2, torch.device("cpu"), "a" * 64

    def read(self, blocks: TokenBlocks) -> Tensor:
        token = torch.from_numpy(blocks.tokens[blocks.valid].astype(np.float32))
        return torch.stack([token.cos(), token.sin()], dim=1)

    def spliced_loss(self, blocks: TokenBlocks, replace: Callable[[Tensor], Tensor]) -> float:
        x = self.read(blocks)
        return 1 + float((x - replace(x)).norm(dim=1).mean())


def sae(gain: float) -> SAE:
    """Four features, ± each axis, which add up to ``gain`` · x."""
    axes = torch.cat([torch.eye(2), -torch.eye(2)])
    return SAE(W_enc=axes.T * gain, W_dec=axes, b_enc=torch.zeros(4), b_dec=torch.zeros(2), architecture="relu",
               metadata={})  # fmt: skip


def test_what_is_reconstructed_is_explained_and_recovers_the_loss(tmp_path: Path) -> None:
    n, folder = 6, RunFolder(tmp_path)
    names = tuple(map(str, range(n)))
    table = DocumentTable(id=names, kind=("k",) * n, group=names, split=("train", "choose", "report") * 2)
    text = [list(range(8 * i + 1, 8 * i + 9)) for i in range(n)]
    folder.blocks.parent.mkdir()
    cut_blocks(text, table, n_ctx=9, bos_id=0, d_vocab=60, tokenizer_hash="t").save(folder.blocks)
    config = parse_config({"models": {"load": {"A": "starter/seed0"}}, "saes": {"quality_blocks": 4}})
    for seed, gain in enumerate((1.0, 0.0)):
        sae(gain).save(folder.sae("A", 4, seed))
    measure_quality(config, folder, {"A": NormSite()}, [("A", "w4-s0"), ("A", "w4-s1")])  # type: ignore[dict-item]
    whole, nothing = (json.loads((folder.sae("A", 4, seed) / "quality.json").read_text()) for seed in (0, 1))
    assert whole["explained_variance"] == pytest.approx(1)
    assert whole["l0"] == pytest.approx(2)  # one of ± each axis
    assert whole["n_tokens"] == 4 * 8  # the training documents are left out
    assert whole["loss"]["spliced"] == pytest.approx(1)
    assert whole["loss"]["recovered_over_zero"] == pytest.approx(1)
    assert nothing["l0"] == 0
    assert nothing["loss"]["recovered_over_zero"] == pytest.approx(0)
    assert math.isclose(nothing["loss"]["zero"], 2, rel_tol=1e-5)

"""The stream that SAEs learn from: its first batches are read once, for initialisation and for training."""

from contextlib import closing

import numpy as np
import pytest
import torch
from torch import Tensor

from universality.activations import shuffled_batches
from universality.config import parse_config
from universality.corpus import TokenBlocks
from universality.corpus.blocks import cut_blocks
from universality.corpus.documents import DocumentTable
from universality.pipeline.stages.sae_training import Stream, specs_of, steps_of

OPTIONS = {"batch_size": 16, "seed": 0, "buffer_tokens": 64, "stop": 12}


class TokenSite:
    """A site whose activations are the token's id and its square."""

    name, d_in, device = "m", 2, torch.device("cpu")

    def read(self, blocks: TokenBlocks) -> Tensor:
        token = torch.from_numpy(blocks.tokens[blocks.valid].astype(np.float32))
        return torch.stack([token, token**2], dim=1)


@pytest.fixture(scope="module")
def blocks() -> TokenBlocks:
    n = 20
    names = tuple(map(str, range(n)))
    table = DocumentTable(id=names, kind=("k",) * n, group=names, split=("train",) * n)
    text = [list(range(8 * i + 1, 8 * i + 9)) for i in range(n)]
    return cut_blocks(text, table, n_ctx=9, bos_id=0, d_vocab=200, tokenizer_hash="t")


@pytest.mark.parametrize("start", [0, 5])
def test_batches_are_those_of_the_stream_from_the_step_asked_for(blocks: TokenBlocks, start: int) -> None:
    sites = {"m": TokenSite()}
    expected = [batch["m"] for batch in shuffled_batches(sites, blocks, **OPTIONS)]  # type: ignore[arg-type]
    with closing(Stream(sites, blocks, **OPTIONS)) as stream:  # type: ignore[arg-type]
        sample = torch.cat(expected)[: blocks.n_tokens // 2]  # half of so short a text
        assert stream.samples["m"].equal(sample)
        found = [batch["m"] for batch in stream.from_step(start)]
    assert len(expected) == 12
    assert len(found) == 12 - start
    assert all(one.equal(other) for one, other in zip(found, expected[start:], strict=True))


def test_every_sae_of_the_grid_has_a_seed_of_its_own() -> None:
    models = {"load": {"A": "starter/seed0", "B": "starter/seed1"}}
    saes = {"widths": [8, 16], "k": [2, 4], "seeds": [0, 1], "tokens": 1000, "batch_size": 64}
    config = parse_config({"models": models, "saes": saes})
    specs = specs_of(config, torch.device("cpu"))
    assert {key: (spec.d_sae, spec.k) for key, spec in specs.items() if key[0] == "B"} == {
        ("B", "w8-s0"): (8, 2), ("B", "w8-s1"): (8, 2), ("B", "w16-s0"): (16, 4), ("B", "w16-s1"): (16, 4),
    }  # fmt: skip
    assert len({(spec.d_sae, spec.seed) for spec in specs.values()}) == len(specs) == 8
    assert steps_of(config) == 16  # 15 would see 960 tokens

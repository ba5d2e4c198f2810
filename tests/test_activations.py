from itertools import islice

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.testing import assert_close

from universality.activations import (
    check_models,
    harvest,
    resolve_hook,
    rows_of,
    shuffled_batches,
    spliced_loss,
    width_at,
)
from universality.config import ArchitectureConfig
from universality.corpus import TokenBlocks, build_corpus
from universality.errors import MismatchError, ModelError
from universality.models.forward import mean_loss
from universality.models.language_model import LanguageModel, new_model

HOOK = "blocks.0.mlp.hook_post"


@pytest.fixture(scope="module")
def blocks() -> TokenBlocks:
    return build_corpus(max_documents=30, tokenizer="train", d_vocab=300, n_ctx=32, held_out=0.4).blocks


@pytest.fixture(scope="module")
def models(blocks) -> dict[str, LanguageModel]:
    architecture = ArchitectureConfig(d_model=32, n_heads=2, d_mlp=64)
    return {
        name: new_model(architecture, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=seed, name=name)
        for seed, name in enumerate("AB")
    }


def test_harvest_equals_the_cache_without_bos_and_padding(models, blocks) -> None:
    part = blocks.take(np.arange(7))
    harvested = [(rows, acts) for rows, acts in harvest(models, part, HOOK, batch_blocks=3)]
    rows = rows_of(part)
    assert_array_equal(np.concatenate([r.token for r, _ in harvested]), part.tokens[part.valid])
    assert_array_equal(np.concatenate([r.document for r, _ in harvested]), rows.document)
    assert rows.position.min() == 1
    for name, model in models.items():
        with torch.no_grad():
            _, cache = model.bridge.run_with_cache(torch.from_numpy(part.tokens.astype(np.int64)))
        expected = cache[resolve_hook(model, HOOK)][torch.from_numpy(part.valid)]
        assert_close(torch.cat([acts[name] for _, acts in harvested]), expected)


def test_shuffled_batches_deal_every_token_of_a_buffer_once_and_alike_for_all_models(models, blocks) -> None:
    both = list(islice(shuffled_batches(models, blocks, HOOK, batch_size=64, seed=1, buffer_tokens=640), 12))
    alone = list(
        islice(shuffled_batches({"B": models["B"]}, blocks, HOOK, batch_size=64, seed=1, buffer_tokens=640), 12)
    )
    for batch, lone in zip(both, alone, strict=True):
        assert batch["A"].shape == (64, 64)
        assert_close(batch["B"], lone["B"], rtol=0, atol=0)
    everything = torch.cat([acts["A"] for _, acts in harvest({"A": models["A"]}, blocks, HOOK)])
    known = {row.tobytes() for row in everything.numpy()}
    dealt = [row.tobytes() for row in torch.cat([b["A"] for b in both[:10]]).numpy()]
    assert set(dealt) <= known
    assert len(set(dealt)) > 0.9 * len(dealt)


def test_stream_goes_on_from_any_batch(models, blocks) -> None:
    options = {"batch_size": 64, "seed": 1, "buffer_tokens": 640}
    whole = list(islice(shuffled_batches(models, blocks, HOOK, **options), 40))
    for start in (1, 9, 10, 33):
        first = next(shuffled_batches(models, blocks, HOOK, start=start, **options))
        for name in models:
            assert_close(first[name], whole[start][name], rtol=0, atol=0)
    other = next(shuffled_batches(models, blocks, HOOK, **options | {"seed": 2}))
    assert not torch.equal(other["A"], whole[0]["A"])


def test_buffers_mix_documents_and_cross_epochs(models, blocks) -> None:
    n_batches = 3 * blocks.n_tokens // 512
    batches = list(
        islice(
            shuffled_batches({"A": models["A"]}, blocks, HOOK, batch_size=512, seed=0, buffer_tokens=4096), n_batches
        )
    )
    assert len(batches) == n_batches


def test_splicing_the_same_changes_nothing_and_zero_hurts(models, blocks) -> None:
    part = blocks.take(np.arange(70))
    plain = mean_loss(models["A"].bridge, part)
    assert_allclose(spliced_loss(models["A"], part, HOOK, lambda x: x), plain)
    assert abs(spliced_loss(models["A"], part, HOOK, torch.zeros_like) - plain) > 1e-4


def test_hooks_resolve_old_and_new_names(models) -> None:
    model = models["A"]
    assert resolve_hook(model, "blocks.0.mlp.hook_post") == resolve_hook(model, "blocks.0.mlp.out.hook_in")
    assert width_at(model, HOOK) == 64
    assert width_at(model, "blocks.0.hook_resid_post") == 32
    with pytest.raises(
        ModelError, match=r"has no hook 'blocks.0.mlp.hook_pots'; the nearest are blocks.0.mlp.hook_post"
    ):
        resolve_hook(model, "blocks.0.mlp.hook_pots")


def test_models_that_cannot_read_the_blocks_are_refused(blocks) -> None:
    architecture = ArchitectureConfig(d_model=16, n_heads=1, d_mlp=8)

    def model(**changes) -> LanguageModel:
        return new_model(
            architecture, **{"d_vocab": blocks.d_vocab, "n_ctx": blocks.n_ctx, "init_seed": 0, "name": "m"} | changes
        )

    check_models({"m": model()}, blocks)
    with pytest.raises(MismatchError, match="embeds 10 token types, the tokenizer makes 300"):
        check_models({"m": model(d_vocab=10)}, blocks)
    with pytest.raises(MismatchError, match="reads 8 positions, blocks have 32"):
        check_models({"m": model(n_ctx=8)}, blocks)
    trained = model()
    trained.metadata["tokenizer_hash"] = "f" * 64
    with pytest.raises(MismatchError, match="was trained on tokens of tokenizer ffffffffffff"):
        check_models({"m": trained}, blocks)

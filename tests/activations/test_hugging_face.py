"""A Hugging Face model of the Llama architecture: what is harvested, where the pass ends, what a loss holds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from universality.activations import ModelSite, spliced_loss
from universality.corpus import TokenBlocks
from universality.corpus.tokenizer import BOS, STARTER_TOKENIZER
from universality.models import forward
from universality.models.language_model import LanguageModel, load_model

LAYER, HOOK = 1, "blocks.1.hook_resid_post"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory, blocks: TokenBlocks) -> tuple[Any, Path]:
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=blocks.d_vocab, hidden_size=24, intermediate_size=40, num_hidden_layers=4, num_attention_heads=3,
        num_key_value_heads=1, max_position_embeddings=64, tie_word_embeddings=True,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("llama")
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    # TransformerLens insists on a tokenizer for this architecture, which is not used here
    PreTrainedTokenizerFast(tokenizer_file=str(STARTER_TOKENIZER), bos_token=BOS, eos_token=BOS).save_pretrained(folder)
    return model, folder


@pytest.fixture(scope="module")
def ours(theirs: tuple[Any, Path]) -> LanguageModel:
    return load_model(theirs[1], "llama")


def token_ids(blocks: TokenBlocks) -> torch.Tensor:
    return torch.from_numpy(blocks.tokens.astype(np.int64))


def test_the_harvest_is_the_residual_stream_of_transformers(theirs: Any, ours: Any, blocks: Any) -> None:
    part = blocks.take(np.arange(6))
    with torch.no_grad():
        states = theirs[0](token_ids(part), output_hidden_states=True).hidden_states
    text = torch.from_numpy(part.valid)
    assert_close(ModelSite(ours, HOOK).read(part), states[LAYER + 1][text], rtol=1e-4, atol=1e-5)
    assert (ModelSite(ours, HOOK).read(part) - states[LAYER][text]).abs().max() > 1e-3  # not the layer before


def test_nothing_behind_the_hook_runs(ours: LanguageModel, blocks: TokenBlocks) -> None:
    inner = ours.bridge.original_model
    ran: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in inner.named_modules()
        if name.endswith(("lm_head", "model.norm", *(f"layers.{i}" for i in range(4))))
    ]
    assert len(handles) == 6
    try:
        site = ModelSite(ours, HOOK)
        site.read(blocks.take(np.arange(2)))
        before = [name.rsplit(".", 1)[-1] for name in ran]
        forward.mean_loss(ours.bridge, blocks.take(np.arange(2)))
    finally:
        for handle in handles:
            handle.remove()
    assert before == ["0"]  # block 1 is left from its own output's hook, before it returns
    assert len(ran) - len(before) == 6


def test_a_loss_holds_few_logits_at_a_time_and_stays_the_same(
    theirs: Any, ours: LanguageModel, blocks: TokenBlocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = blocks.take(np.arange(7))
    assert [len(some) for some in forward.loss_batches(ours.bridge, blocks.take(np.arange(70)))] == [32, 32, 6]
    monkeypatch.setattr(forward, "LOGITS_BYTES", 4 * blocks.n_ctx * ours.d_vocab * 3)
    assert [some.tolist() for some in forward.loss_batches(ours.bridge, part)] == [[0, 1, 2], [3, 4, 5], [6]]
    monkeypatch.setattr(forward, "LOGITS_BYTES", 1)
    assert len(forward.loss_batches(ours.bridge, part)) == 7
    with torch.no_grad():
        logits = theirs[0](token_ids(part)).logits
    follows = torch.from_numpy(part.valid)[:, 1:]
    expected = cross_entropy(logits[:, :-1][follows], token_ids(part)[:, 1:][follows]).item()
    assert forward.mean_loss(ours.bridge, part) == pytest.approx(expected, rel=1e-5)
    assert spliced_loss(ours, part, HOOK, lambda x: x) == pytest.approx(expected, rel=1e-5)
    assert abs(spliced_loss(ours, part, HOOK, torch.zeros_like) - expected) > 1e-4

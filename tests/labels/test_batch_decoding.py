"""Answers of a batch are those of ``generate`` to each prompt alone, with and without a common beginning."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from universality.labels.attention_cache import Prefix, compute_prefix, is_attention_only
from universality.labels.batch_decoding import BatchDecoder, PromptTokens, with_noise

D_VOCAB, END = 80, 3
SIZES = {"vocab_size": D_VOCAB, "bos_token_id": 1, "eos_token_id": END, "pad_token_id": 0,
         "tie_word_embeddings": False}  # fmt: skip


def llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(**SIZES, **shape, num_key_value_heads=2))


def gemma() -> Any:
    """A model with local attention, whose window is much shorter than the prompts."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    local = {"sliding_window": 8, "layer_types": layers}
    return Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, **shape, **local, num_key_value_heads=1, head_dim=16))


def gpt2() -> Any:
    """A model with learned positions."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(**SIZES, n_embd=32, n_layer=2, n_head=2, n_positions=128))


def bloom() -> Any:
    """A model without an argument for positions."""
    from transformers import BloomConfig, BloomForCausalLM

    return BloomForCausalLM(BloomConfig(**SIZES, hidden_size=32, n_layer=2, n_head=2))


def recurrent() -> Any:
    """A model whose layers are partly recurrent, which has no keys and values to copy."""
    from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    linear = {"linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8,
              "linear_value_head_dim": 8, "layer_types": ["linear_attention", "full_attention"]}  # fmt: skip
    return Qwen3_5ForCausalLM(Qwen3_5TextConfig(**SIZES, **shape, **linear, num_key_value_heads=1, head_dim=16))


def with_large_weights(build: Callable[[], Any]) -> Any:
    """Build a model with weights that let the context decide what is most probable."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = build().eval()
        for weights in built.parameters():
            if weights.ndim > 1:
                torch.nn.init.normal_(weights, std=0.3)
    return built


@pytest.fixture(params=[llama, gemma, gpt2, bloom, recurrent], ids=lambda build: build.__name__)
def model(request: pytest.FixtureRequest) -> Any:
    return with_large_weights(request.param)


def prompts(beginning: list[int]) -> list[PromptTokens]:
    rng = torch.Generator().manual_seed(1)
    lengths, limits = (1, 5, 17, 40, 9, 9), (12, 3, 12, 6, 1, 12)
    rest = [torch.randint(4, D_VOCAB, (n,), generator=rng).tolist() for n in lengths]
    return [PromptTokens(beginning + some, limit) for some, limit in zip(rest, limits, strict=True)]


def ends(written: list[int]) -> bool:
    return written[-1] == END


def generated(model: Any, one: PromptTokens) -> list[int]:
    inputs = torch.tensor([list(one.tokens)])
    written = model.generate(
        inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=one.max_tokens, do_sample=False
    )
    return written[0, inputs.shape[1] :].tolist()


@pytest.mark.parametrize("n_common", [0, 25])
def test_answers_are_those_of_generate(model: Any, n_common: int) -> None:
    beginning = torch.randint(4, D_VOCAB, (n_common,), generator=torch.Generator().manual_seed(2)).tolist()
    asked = prompts(beginning)
    prefix = compute_prefix(model, beginning) if is_attention_only(model) else Prefix()
    answers = BatchDecoder(model, ends, 0, 0.0).decode(asked, prefix)
    assert answers == [generated(model, one) for one in asked]
    assert len({tuple(answer[:3]) for answer in answers}) > 3  # the context matters
    assert [len(answer) <= one.max_tokens for answer, one in zip(answers, asked, strict=True)] == [True] * len(asked)


def test_another_prefix_gives_other_answers() -> None:
    """The control: keys and values of other tokens are not without effect."""
    built, beginning = with_large_weights(gemma), list(range(10, 35))
    asked = prompts(beginning)
    answers = [BatchDecoder(built, ends, 0, 0.0).decode(asked, compute_prefix(built, tokens))
               for tokens in (beginning, beginning[::-1])]  # fmt: skip
    assert answers[0] != answers[1]


def test_models_with_recurrent_layers_share_nothing() -> None:
    assert [is_attention_only(build()) for build in (llama, gemma, gpt2, bloom, recurrent)] == [True] * 4 + [False]


def test_draws_have_the_probabilities_of_the_softmax() -> None:
    logits = torch.log(torch.tensor([0.6, 0.3, 0.1])).repeat(20_000, 1)
    for temperature in (1.0, 0.5):
        drawn = with_noise(logits, temperature, torch.Generator().manual_seed(0)).argmax(-1)
        expected = torch.softmax(logits[0] / temperature, -1)
        shares = torch.bincount(drawn, minlength=3) / 20_000
        assert torch.allclose(shares, expected, atol=0.015)  # four standard errors

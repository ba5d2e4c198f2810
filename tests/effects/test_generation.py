from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.effects.conftest import random_sae
from universality.activations import ModelSite
from universality.effects.changes import Change, ablate, add, clamp, multiply, replace_codes
from universality.effects.generation import write
from universality.effects.interventions import Intervention, edited_logits
from universality.errors import MismatchError, ModelError, UniversalityError
from universality.models.language_model import LanguageModel
from universality.sae import SAE


def step_by_step(site: ModelSite, prompt: list[int], n_tokens: int, *interventions: Intervention) -> list[int]:
    """Decode greedily, with every position run and encoded again at each step."""
    text = list(prompt)
    for _ in range(n_tokens):
        tokens = torch.tensor([text])
        at = torch.arange(len(text))[None] > 0
        text.append(int(edited_logits(site, tokens, interventions, at)[0, -1].argmax()))
    return text[len(prompt) :]


@pytest.mark.parametrize("change", [None, clamp([3], 4), ablate([0, 1, 2, 3, 4]), add([7], 3, where="firing")])
def test_greedy_text_is_that_of_whole_passes(site: ModelSite, sae: SAE, change: Change | None) -> None:
    interventions = [] if change is None else [Intervention(site, sae, change)]
    written = write(site, [0, 5, 9], interventions, n_tokens=12, n_samples=2, temperature=0)
    expected = step_by_step(site, [0, 5, 9], 12, *interventions)
    assert written.tolist() == [expected, expected]


def test_interventions_change_the_greedy_text(site: ModelSite, sae: SAE) -> None:
    plain = step_by_step(site, [0, 5, 9], 12)
    assert plain != step_by_step(site, [0, 5, 9], 12, Intervention(site, sae, clamp([3], 40)))


def test_sampled_text_has_the_model_s_probabilities(site: ModelSite) -> None:
    first = write(site, [0], n_tokens=1, n_samples=20_000, temperature=0.5, seed=3)[:, 0]
    logits = edited_logits(site, torch.tensor([[0]]), [], torch.zeros(1, 1, dtype=torch.bool))[0, -1]
    expected = (logits / 0.5).softmax(0).numpy()
    shares = np.bincount(first, minlength=expected.size) / first.size
    assert np.abs(shares - expected).max() < 5 * np.sqrt(expected.max() / first.size)
    unscaled = logits.softmax(0).numpy()
    assert np.abs(shares - unscaled).sum() > 2 * np.abs(shares - expected).sum()  # the temperature matters


def test_seeds_fix_the_noise(site: ModelSite, sae: SAE) -> None:
    def text(seed: int, *interventions: Intervention) -> np.ndarray:
        return write(site, [0, 5], interventions, n_tokens=10, n_samples=6, seed=seed)

    plain = text(0)
    assert np.array_equal(plain, text(0))
    assert np.array_equal(plain, text(0, Intervention(site, sae, multiply([0, 3], 1))))  # an empty edit
    assert not np.array_equal(plain, text(1))
    assert len(np.unique(plain, axis=0)) == 6
    nudged = text(0, Intervention(site, sae, add([3], 0.02)))
    assert (nudged == plain).mean() > 0.8 > (text(1) == plain).mean()  # common random numbers


def planted(model: LanguageModel, token: int) -> tuple[ModelSite, SAE]:
    """Return an SAE at the last layer whose feature 2 writes along the unembedding of a token."""
    site = ModelSite(model, "blocks.1.hook_resid_post")
    sae = random_sae(site.d_in, 48, seed=1)
    rows = sae.W_dec.clone()
    direction = model.bridge.unembed.W_U.detach()[:, token]
    rows[2] = direction / direction.norm()
    return site, replace(sae, W_dec=rows)


def test_a_feature_along_a_token_s_unembedding_writes_that_token(model: LanguageModel) -> None:
    token = 123
    site, sae = planted(model, token)
    prompt = [0, 5, 9]
    plain, steered, another = (
        # an untrained model's logits are small, hence the low temperature
        write(site, prompt, edits, n_tokens=15, n_samples=10, temperature=0.1)
        for edits in ([], [Intervention(site, sae, clamp([2], 300))], [Intervention(site, sae, clamp([7], 300))])
    )
    assert (steered == token).mean() > 0.9
    assert (plain == token).mean() < 0.1
    assert (another == token).mean() < 0.1
    after_bos = write(site, [0], [Intervention(site, sae, clamp([2], 300))], n_tokens=2, n_samples=10, temperature=0.1)
    assert (after_bos == token).mean(axis=0).tolist() == [0, 1]  # BOS is not edited


def test_a_transcoder_writes_where_it_writes(model: LanguageModel) -> None:
    reads, writes = (ModelSite(model, f"blocks.1.mlp.hook_{end}") for end in ("in", "out"))
    token = 77
    _, sae = planted(model, token)
    transcoder = replace(sae, transcoder=True, apply_b_dec_to_input=False)
    edit = Intervention(reads, transcoder, clamp([2], 300), site_out=writes)
    assert (write(reads, [0, 5, 9], [edit], n_tokens=8, n_samples=4, temperature=0.1) == token).mean() > 0.9


def test_never_and_the_context(site: ModelSite) -> None:
    greedy = write(site, [0, 5], n_tokens=6, temperature=0)
    without = write(site, [0, 5], n_tokens=6, temperature=0, never=[int(greedy[0, 0]), 10**6])
    assert greedy[0, 0] not in without
    few = range(3, site.model.d_vocab)
    assert set(np.unique(write(site, [0], n_tokens=5, n_samples=50, never=few))) == {0, 1, 2}
    assert write(site, [0, 5], n_tokens=1000).shape == (1, site.model.n_ctx - 2)


def test_a_model_of_transformers_writes_too(sae: SAE) -> None:
    from tokenizers import Tokenizer, models
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    from universality.models.language_model import wrap_model

    torch.manual_seed(0)
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=60, n_positions=24, n_embd=32, n_layer=2, n_head=2, bos_token_id=0))
    backend = Tokenizer(models.WordLevel({str(i): i for i in range(60)}, unk_token="0"))
    model = wrap_model(gpt2, PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="0"), "G")
    site = ModelSite(model, "blocks.0.hook_resid_post")
    edit = Intervention(site, sae, clamp([3], 4))
    written = write(site, [0, 5, 9], [edit], n_tokens=10, temperature=0)
    assert written[0].tolist() == step_by_step(site, [0, 5, 9], 10, edit)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prompt": []}, UniversalityError, r"prompt: expected token ids \[n\], BOS first"),
        ({"prompt": [[0]]}, UniversalityError, r"prompt: expected token ids \[n\]"),
        ({"prompt": [0.5]}, UniversalityError, r"prompt: expected token ids \[n\]"),
        ({"prompt": [0, 10**6]}, MismatchError, r"model 'A' embeds ids from 0 to \d+, found 0 to 1000000"),
        ({"prompt": [0, -1]}, MismatchError, r"found -1 to 0"),
        ({"prompt": [0] * 32}, MismatchError, "model 'A' reads 32 tokens, and 32 leave no room to write"),
        ({"n_tokens": 0}, UniversalityError, "at least 1 token and 1 sample to write, found n_tokens 0"),
        ({"n_samples": 0}, UniversalityError, "n_samples 0"),
        ({"temperature": -1.0}, UniversalityError, r"temperature: expected a number of at least 0, found -1.0"),
        ({"temperature": float("nan")}, UniversalityError, "temperature: .* found nan"),
        ({"seed": -1}, UniversalityError, "seed: expected a whole number of at least 0, found -1"),
        ({"never": range(1000)}, UniversalityError, "never: no token is left to write"),
    ],
)
def test_refusals(site: ModelSite, arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        write(site, **{"prompt": [0, 5]} | arguments)


def test_what_cannot_be_written_is_said(site: ModelSite, sae: SAE) -> None:
    bridge = site.model.bridge

    def spoil(activation: torch.Tensor, hook: object) -> torch.Tensor:
        return activation * torch.inf

    message = "the logits of model 'A' are not finite after 2 tokens; set features to smaller values"
    message = "the logits of model 'A' are not finite after 2 tokens; set features to smaller values"
    with bridge.hooks(fwd_hooks=[("blocks.1.hook_resid_post", spoil)]), pytest.raises(ModelError, match=message):
        write(site, [0, 5])
    of_one_text = replace_codes(sae.encode(torch.ones(1, site.d_in)))
    with pytest.raises(MismatchError, match="replace_codes: expected codes"):
        write(site, [0, 5], [Intervention(site, sae, of_one_text)], n_samples=3)

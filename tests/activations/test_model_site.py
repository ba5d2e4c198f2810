from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.testing import assert_close

from universality.activations import ModelSite, check_models, resolve_hook, spliced_loss
from universality.corpus import TokenBlocks
from universality.errors import MismatchError, ModelError
from universality.models.forward import mean_loss
from universality.models.language_model import LanguageModel, new_model
from universality.models.model_settings import ModelArchitecture

HOOK = "blocks.0.mlp.hook_post"


def passes(model: LanguageModel, work: Callable[[], object]) -> int:
    """Forward passes that a model begins."""
    begun: list[str] = []
    with model.bridge.hooks(fwd_hooks=[("blocks.0.hook_in", lambda _, hook: begun.append(hook.name))]):
        work()
    return len(begun)


def test_heads_stand_side_by_side_and_patterns_are_refused(models, blocks) -> None:
    model, part = models["A"], blocks.take(np.arange(4))
    site = ModelSite(model, "blocks.0.attn.hook_z")
    with torch.no_grad():
        _, cache = model.bridge.run_with_cache(torch.from_numpy(part.tokens.astype(np.int64)))
    heads = cache[site.hook][torch.from_numpy(part.valid)]
    assert heads.ndim == 3
    assert_close(site.read(part), heads.flatten(1))
    assert site.d_in == heads.shape[1] * heads.shape[2]
    loss = mean_loss(model.bridge, part)
    assert site.spliced_loss(part, lambda x: x) == pytest.approx(loss, rel=1e-6)
    assert site.spliced_loss(part, lambda x: 100 * x) != pytest.approx(loss, rel=1e-4)
    with pytest.raises(ModelError, match=r"hook_pattern' of model .* has shape \[1, \d, 3, 3\] for 3 tokens; expected"):
        _ = ModelSite(model, "blocks.0.attn.hook_pattern").d_in


def cut_short(blocks: TokenBlocks, longest: int) -> TokenBlocks:
    """The same blocks with text of many lengths; one stays full."""
    length = np.random.default_rng(0).integers(2, longest, len(blocks)).astype(np.int32)
    length[3] = blocks.n_ctx
    return replace(blocks, length=np.minimum(blocks.length, length))


def test_short_blocks_are_read_without_most_of_their_padding(models, blocks) -> None:
    model, whole = models["A"], blocks.take(np.arange(40))
    full = whole.take(np.flatnonzero(whole.length == whole.n_ctx))
    short = cut_short(full, 2 + full.n_ctx // 4)
    sites = {"up": ModelSite(model, HOOK), "stream": ModelSite(model, "blocks.0.hook_resid_post")}

    def columns(work: Callable[[], object]) -> int:
        computed: list[int] = []
        hook = ("blocks.0.hook_in", lambda value, hook: computed.append(value.shape[0] * value.shape[1]))
        with model.bridge.hooks(fwd_hooks=[hook]):
            work()
        return sum(computed)

    assert columns(lambda: sites["up"].read(full)) == full.tokens.size
    assert columns(lambda: sites["up"].read(short)) < 1.25 * short.length.sum() < 0.3 * short.tokens.size
    read = sites["up"].read_with(sites, short)
    kept = torch.from_numpy(short.valid[full.valid])  # tokens of the full blocks that the short ones still hold
    for name, site in sites.items():
        padded = site.read(full)[kept]
        assert_close(read[name], padded, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(read[name], padded.flip(0), rtol=1e-2)  # the order of tokens matters


def test_losses_of_short_blocks_are_those_of_padded_ones(models, blocks) -> None:
    model, short = models["A"], cut_short(blocks.take(np.arange(40)), 8)
    short = short.take(np.flatnonzero(short.length < 8))
    padded = replace(short, length=np.full_like(short.length, short.n_ctx))
    tokens = torch.from_numpy(short.tokens.astype(np.int64))
    with torch.no_grad():
        logits = model.bridge.run_with_hooks(tokens, fwd_hooks=[], return_type="logits")
    mask = torch.from_numpy(short.valid[:, 1:])
    expected = torch.nn.functional.cross_entropy(logits[:, :-1][mask], tokens[:, 1:][mask]).item()
    assert mean_loss(model.bridge, short) == pytest.approx(expected, rel=1e-5)
    assert spliced_loss(model, short, HOOK, lambda x: x) == pytest.approx(expected, rel=1e-5)
    assert mean_loss(model.bridge, padded) != pytest.approx(expected, rel=1e-3)


def test_splicing_the_same_changes_nothing_and_zero_hurts(models, blocks) -> None:
    part = blocks.take(np.arange(70))
    plain = mean_loss(models["A"].bridge, part)
    assert_allclose(spliced_loss(models["A"], part, HOOK, lambda x: x), plain)
    assert abs(spliced_loss(models["A"], part, HOOK, torch.zeros_like) - plain) > 1e-4


def test_hooks_resolve_old_and_new_names(models) -> None:
    model = models["A"]
    assert resolve_hook(model, "blocks.0.mlp.hook_post") == resolve_hook(model, "blocks.0.mlp.out.hook_in")
    assert ModelSite(model, HOOK).d_in == 64
    assert ModelSite(model, "blocks.0.hook_resid_post").d_in == 32
    assert {"blocks.0.mlp.hook_post", "blocks.0.mlp.out.hook_in"} <= set(ModelSite(model, HOOK).aliases)
    with pytest.raises(
        ModelError, match=r"has no hook 'blocks.0.mlp.hook_pots'; the nearest are blocks.0.mlp.hook_post"
    ):
        resolve_hook(model, "blocks.0.mlp.hook_pots")


def test_models_that_cannot_read_the_blocks_are_refused(blocks) -> None:
    architecture = ModelArchitecture(d_model=16, n_heads=1, d_mlp=8)

    def model(**changes) -> LanguageModel:
        return new_model(
            architecture, **{"d_vocab": blocks.d_vocab, "n_ctx": blocks.n_ctx, "init_seed": 0, "name": "m"} | changes
        )

    check_models({"m": model()}, blocks)
    with pytest.raises(MismatchError, match=r"embeds 10 token types, .* set models\.tokenizers to own"):
        check_models({"m": model(d_vocab=10)}, blocks)
    with pytest.raises(MismatchError, match="reads 8 positions, blocks have 32"):
        check_models({"m": model(n_ctx=8)}, blocks)
    trained = model()
    trained.metadata["tokenizer_hash"] = "f" * 64
    with pytest.raises(
        MismatchError, match=r"trained on tokens of tokenizer ffffffffffff, .* models\.tokenizers to own"
    ):
        check_models({"m": trained}, blocks)


def test_nothing_behind_the_hook_runs(models, blocks) -> None:
    """A hook behind the wanted one would fire, were the forward pass to go on."""
    bridge = models["A"].bridge
    fired = []
    with bridge.hooks(fwd_hooks=[("unembed.hook_in", lambda value, hook: fired.append(hook.name))]):
        ModelSite(models["A"], HOOK).read(blocks.take(np.arange(2)))
        assert fired == []
        mean_loss(bridge, blocks.take(np.arange(2)))
    assert len(fired) == 1


def test_a_function_of_an_earlier_hook_is_spliced_in(models, blocks) -> None:
    """A map of what enters the MLP replaces what leaves it, on all batches; the MLP itself changes nothing."""
    part, mlp = blocks.take(np.arange(70)), models["A"].bridge.blocks[0].mlp
    reads, writes = (ModelSite(models["A"], f"blocks.0.mlp.hook_{side}") for side in ("in", "out"))
    plain = mean_loss(models["A"].bridge, part)
    weights = [w.detach() for w in (mlp.W_in, mlp.b_in, mlp.W_out, mlp.b_out)]

    def replaced(x: torch.Tensor) -> torch.Tensor:
        return (x @ weights[0] + weights[1]).relu() @ weights[2] + weights[3]

    assert_allclose(writes.spliced_loss(part, replaced, reads=reads), plain, atol=1e-5)
    assert abs(writes.spliced_loss(part, lambda x: 3 * replaced(x), reads=reads) - plain) > 1e-4
    with pytest.raises(ModelError, match=r"has not computed blocks.0.mlp.hook_out yet where it computes"):
        reads.spliced_loss(part, replaced, reads=writes)

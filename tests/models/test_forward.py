"""A forward pass ends at the last hook that it was asked for, and gives what a whole pass gives."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from universality.errors import ModelError
from universality.models.forward import run_until
from universality.models.language_model import LanguageModel, new_model, weights


@pytest.fixture
def model(architecture) -> LanguageModel:
    return new_model(architecture, d_vocab=50, n_ctx=16, init_seed=3, name="m")


def logits(model: LanguageModel) -> torch.Tensor:
    with torch.no_grad():
        return model.bridge(torch.arange(16)[None], return_type="logits")


def test_pass_ends_at_the_hook(model) -> None:
    reached = []
    handle = model.bridge.original_model.head.register_forward_hook(lambda *_: reached.append(1))
    (activation,) = run_until(model.bridge, torch.zeros((2, 5), dtype=torch.int64), "blocks.0.mlp.hook_post")
    assert activation.shape == (2, 5, 64)
    assert not reached
    logits(model)
    assert reached
    handle.remove()


def test_one_pass_gives_every_hook_what_a_pass_of_its_own_gives(architecture) -> None:
    """Also where a layer behind writes into what the hook before it saw."""
    bridge = new_model(replace(architecture, n_layers=3), d_vocab=50, n_ctx=16, init_seed=0, name="m").bridge
    tokens = torch.arange(32).reshape(2, 16)
    early, late, last = "blocks.0.hook_out", "blocks.1.hook_out", "blocks.2.hook_out"
    ran = []
    write = [("blocks.1.hook_in", lambda value, hook: value.mul_(2)), (last, lambda _, hook: ran.append(hook.name))]
    with torch.no_grad(), bridge.hooks(fwd_hooks=write):
        alone = {hook: run_until(bridge, tokens, hook)[0].clone() for hook in (early, late)}
        found = run_until(bridge, tokens, late, early, late)
        assert ran == []
        bridge(tokens, return_type=None)
        assert ran == [last]
    for hook, activation in zip((late, early, late), found, strict=True):
        assert torch.equal(activation, alone[hook])
    assert not torch.equal(alone[early], alone[late])


def test_gradients_flow_back_from_each_hook(model) -> None:
    tokens, embedding = torch.zeros((2, 5), dtype=torch.int64), weights(model.bridge)["tok_embed.weight"]
    sum(x.square().sum() for x in run_until(model.bridge, tokens, "blocks.0.hook_in", "blocks.0.hook_out")).backward()
    both, embedding.grad = embedding.grad, None
    for hook in ("blocks.0.hook_in", "blocks.0.hook_out"):
        run_until(model.bridge, tokens, hook)[0].square().sum().backward()
    assert_close(both, embedding.grad)
    model.bridge.zero_grad(set_to_none=True)


def test_a_hook_that_the_pass_leaves_out_is_named(model) -> None:
    tokens, unused = torch.zeros((1, 2), dtype=torch.int64), "blocks.0.attn.hook_hidden_states"
    with pytest.raises(ModelError, match=rf"never reached hook '{unused}'; expected a hook that the model runs"):
        run_until(model.bridge, tokens, "blocks.0.hook_in", unused)


def test_unknown_hook_is_never_reached(model) -> None:
    with pytest.raises((ModelError, KeyError, ValueError)):
        run_until(model.bridge, torch.zeros((1, 2), dtype=torch.int64), "blocks.7.mlp.hook_post")

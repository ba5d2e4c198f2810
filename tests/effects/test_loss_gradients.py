"""Gradients of the loss with respect to activations."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.effects.conftest import ARCHITECTURE
from tests.effects.planted import text
from universality.activations import ModelSite
from universality.corpus import TokenBlocks
from universality.effects.loss_gradients import loss_gradients
from universality.errors import ModelError
from universality.models.forward import token_losses
from universality.models.language_model import new_model
from universality.models.model_settings import ModelArchitecture

MIDDLE = "blocks.1.mlp.hook_post"


@pytest.mark.parametrize("hook", ["blocks.0.hook_resid_post", MIDDLE])
def test_gradients_equal_finite_differences_in_float64(blocks: TokenBlocks, hook: str) -> None:
    """Among full and short blocks: the order of tokens is that of the text."""
    model = new_model(ARCHITECTURE, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=0, name="A")
    model.bridge.double()
    site, part = ModelSite(model, hook), blocks.take(np.array([0, 20, 21, 1]))
    gradient = loss_gradients(site, part, [hook])[1][hook]
    assert gradient.dtype == torch.float64
    step = 1e-4 * torch.randn(site.d_in, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for row in (0, 12, int(part.length[0]) + 1, part.n_tokens - 3):
        expected = (_exact_loss(site, part, row, step) - _exact_loss(site, part, row, -step)) / 2
        assert float(gradient[row] @ step) == pytest.approx(expected, rel=1e-5, abs=1e-12)
        assert abs(expected) > 1e-8


def _exact_loss(site: ModelSite, blocks: TokenBlocks, row: int, step: torch.Tensor) -> float:
    block, position = (int(place[row]) for place in np.nonzero(blocks.valid))
    tokens = torch.from_numpy(blocks.tokens[block, : blocks.length[block]].astype(np.int64))[None]

    def move(activation: torch.Tensor, hook: object) -> torch.Tensor:
        moved = activation.clone()
        moved[0, position] += step
        return moved

    with torch.no_grad():
        logits = site.model.bridge.run_with_hooks(tokens, fwd_hooks=[(site.hook, move)], return_type="logits")
    return float(torch.nn.functional.cross_entropy(logits[0, :-1], tokens[0, 1:], reduction="sum"))


def test_several_hooks_in_one_pass_are_as_each_alone(site: ModelSite, blocks: TokenBlocks) -> None:
    x, together = loss_gradients(site, blocks, [MIDDLE, site.hook])
    torch.testing.assert_close(x, site.read(blocks))
    for hook in (MIDDLE, site.hook):
        torch.testing.assert_close(together[hook], loss_gradients(site, blocks, [hook])[1][hook])
    assert (together[site.hook].abs().amax(1) > 0).sum() == blocks.n_tokens - len(blocks)  # all but the last of a block


def test_weights_get_no_gradient_and_cost_none() -> None:
    """A forward and a backward pass through the same products; gradients of weights would make it three."""
    model = new_model(
        ModelArchitecture(n_layers=2, d_model=64, n_heads=2), d_vocab=300, n_ctx=32, init_seed=0, name="A"
    )
    blocks, site = text(8, 1, 32, 300), ModelSite(model, "blocks.0.hook_resid_pre")
    with FlopCounterMode(display=False) as forward:
        token_losses(model.bridge, blocks)
    with FlopCounterMode(display=False) as both:
        loss_gradients(site, blocks, [site.hook])
    assert both.get_total_flops() <= 2.2 * forward.get_total_flops()
    assert all(weight.grad is None and weight.requires_grad for weight in model.bridge.parameters())


@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        (["blocks.1.attn.hook_hidden_states"], "never reached hook 'blocks.1.attn.hook_hidden_states'"),
        (["blocks.1.attn.hook_attn_scores"], "does not depend on blocks.1.attn.hook_attn_scores"),
        ([MIDDLE, "blocks.1.attn.hook_attn_scores"], "does not depend on blocks.1.attn.hook_attn_scores"),
    ],
)
def test_hooks_that_the_loss_does_not_depend_on_are_refused(
    site: ModelSite, blocks: TokenBlocks, hooks: list[str], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        loss_gradients(site, blocks, hooks)

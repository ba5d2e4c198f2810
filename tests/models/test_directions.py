import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from universality.activations import resolve_hook
from universality.corpus import TokenBlocks
from universality.models.directions import read_unembedding, residual_directions
from universality.models.language_model import new_model


@pytest.mark.parametrize(
    ("name", "shape", "stream"),
    [("mlp.hook_post", (64,), "blocks.0.hook_out"), ("attn.hook_z", (2, 16), "blocks.0.hook_attn_out")],
)
def test_directions_move_the_logits_as_a_step_along_them_does(
    blocks: TokenBlocks, architecture, name: str, shape: tuple[int, ...], stream: str
) -> None:
    """Adding a neuron's output, or a head's, changes what is added to the residual stream by its direction."""
    model = new_model(architecture, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=0, name="m")
    with torch.no_grad():
        for value in model.bridge.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel())))
    decoder = np.random.default_rng(0).normal(size=(3, math.prod(shape))).astype(np.float32)
    hook = resolve_hook(model, f"blocks.0.{name}")
    directions = residual_directions(model, hook, decoder)
    tokens = torch.arange(8)[None]

    def final(step: np.ndarray) -> np.ndarray:
        streams: list[torch.Tensor] = []
        hooks = [
            (hook, lambda x, hook: x + torch.from_numpy(step).reshape(shape)),
            (resolve_hook(model, stream), lambda x, hook: streams.append(x)),
        ]
        with torch.no_grad():
            model.bridge.run_with_hooks(tokens, fwd_hooks=hooks, return_type=None)
        return streams[0].numpy()

    for row, direction in zip(decoder, directions, strict=True):
        assert_allclose(final(row) - final(0 * row), np.broadcast_to(direction, (1, 8, 32)), atol=1e-5)
    assert residual_directions(model, resolve_hook(model, "blocks.0.hook_resid_post"), decoder) is decoder
    assert residual_directions(model, resolve_hook(model, "blocks.0.attn.hook_q"), decoder) is None


def test_unembedding_masks_rare_vocabulary_and_takes_the_gain(blocks: TokenBlocks, architecture) -> None:
    model = new_model(architecture, d_vocab=blocks.d_vocab + 7, n_ctx=blocks.n_ctx, init_seed=0, name="m")
    with torch.no_grad():
        model.bridge.ln_final.w.mul_(3)
    train = blocks.select("train")
    unembedding = read_unembedding(model, train, min_count=5)
    counts = np.bincount(train.tokens[train.valid], minlength=blocks.d_vocab + 7)
    assert (unembedding.mask == (counts >= 5)).all()
    assert not unembedding.mask[blocks.d_vocab :].any()
    assert not read_unembedding(model, train, min_count=0).mask[blocks.d_vocab :].any()
    assert_allclose(unembedding.gain, 3)
    assert unembedding.center_d_model

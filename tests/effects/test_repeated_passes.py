"""Repeated passes give the losses of interventions."""

import numpy as np
from torch.testing import assert_close

from universality.activations import ModelSite
from universality.corpus import TokenBlocks
from universality.effects import Intervention, ablate, edited_losses
from universality.effects.repeated_passes import RepeatedPass, repeated_passes
from universality.models.forward import token_losses
from universality.models.language_model import LanguageModel
from universality.sae import SAE


def test_losses_are_those_of_the_model(site: ModelSite, blocks: TokenBlocks) -> None:
    batch = RepeatedPass(site, blocks)
    losses = batch.losses()
    assert_close(losses, token_losses(site.model.bridge, blocks), atol=1e-5, rtol=1e-5)
    assert_close(batch.block_losses().sum(), float(losses.sum()), rtol=1e-5, atol=0)
    assert np.array_equal(losses, batch.losses(0 * batch.written))


def test_a_shift_does_what_an_intervention_does(site: ModelSite, sae: SAE, blocks: TokenBlocks) -> None:
    change = ablate([0, 1, 2])
    expected = edited_losses(site, blocks, [Intervention(site, sae, change)])
    edited = np.zeros((len(blocks), blocks.n_ctx), np.float32)
    sums = np.zeros(len(blocks))
    for index, batch in repeated_passes(site, blocks):
        shift = sae.contribution(change(sae.encode(batch.read)))
        place = np.zeros(batch.blocks.valid.shape, np.float32)
        place[batch.blocks.valid] = batch.losses(shift)
        edited[index] = place
        sums[index] = batch.block_losses(shift)
    assert_close(edited[blocks.valid], expected, atol=1e-5, rtol=1e-5)
    assert_close(sums, edited.sum(axis=1, dtype=np.float64), atol=1e-4, rtol=1e-5)
    assert not np.allclose(expected, token_losses(site.model.bridge, blocks), atol=1e-4)


def test_continued_passes_give_the_losses_of_whole_ones(model: LanguageModel, blocks: TokenBlocks) -> None:
    behind, before = ModelSite(model, "blocks.1.mlp.hook_out"), ModelSite(model, "blocks.0.hook_mlp_out")
    ((_, continued),) = repeated_passes(behind, blocks)
    assert continued.single is not None
    whole = RepeatedPass(behind, continued.blocks)
    shift = continued.written.roll(1, dims=0)
    assert_close(continued.losses(), whole.losses(), atol=1e-5, rtol=1e-5)
    assert_close(continued.losses(shift), whole.losses(shift), atol=1e-5, rtol=1e-5)
    assert not np.allclose(whole.losses(shift), whole.losses(), atol=1e-2)
    assert all(batch.single is None for _, batch in repeated_passes(before, blocks))


def test_a_transcoder_is_shifted_where_it_writes(model: LanguageModel, blocks: TokenBlocks) -> None:
    reads, writes = ModelSite(model, "blocks.1.mlp.hook_in"), ModelSite(model, "blocks.1.hook_mlp_out")
    batch = RepeatedPass(reads, blocks, writes)
    assert_close(batch.read, reads.read(blocks), atol=1e-5, rtol=1e-5)
    assert_close(batch.written, writes.read(blocks), atol=1e-5, rtol=1e-5)
    emptied = batch.losses(-batch.written)
    assert_close(emptied.mean(), np.float32(writes.spliced_loss(blocks, lambda y: 0 * y)), atol=1e-5, rtol=1e-5)

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.testing import assert_close

from tests.effects.conftest import ARCHITECTURE, random_sae
from universality.activations import ModelSite
from universality.corpus import TokenBlocks
from universality.effects.changes import (
    Change,
    ablate,
    ablate_all_but,
    ablate_one_each,
    add,
    clamp,
    multiply,
    of_maximum,
    replace_codes,
)
from universality.effects.interventions import Intervention, check_effect, edited_logits, edited_losses
from universality.errors import MismatchError, ModelError, UniversalityError
from universality.models.forward import mean_loss, to_device, token_losses
from universality.models.language_model import new_model
from universality.sae import SAE


def logits(site: ModelSite, blocks: TokenBlocks, *edits: Intervention, gradient: bool = False) -> torch.Tensor:
    tokens, text = to_device(blocks, site.device)
    return edited_logits(site, tokens, edits, text, gradient=gradient)


def test_losses_of_tokens_have_the_mean_loss(site: ModelSite, blocks: TokenBlocks) -> None:
    losses = token_losses(site.model.bridge, blocks)
    assert losses.shape == (blocks.n_tokens,)
    assert losses.mean() == pytest.approx(mean_loss(site.model.bridge, blocks), rel=1e-6)
    assert losses.std() > 0.01
    alone = token_losses(site.model.bridge, blocks.take(np.array([20])))  # a short one
    before = blocks.take(np.arange(20)).n_tokens
    assert_close(alone, losses[before : before + alone.size], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("change", [multiply([0, 3], 1), add([5], 0), ablate_all_but(np.arange(48))])
def test_an_edit_that_changes_no_code_leaves_the_logits_to_the_byte(
    site: ModelSite, sae: SAE, blocks: TokenBlocks, change: Change
) -> None:
    assert torch.equal(logits(site, blocks), logits(site, blocks, Intervention(site, sae, change)))
    assert not torch.equal(logits(site, blocks), logits(site, blocks, Intervention(site, sae, ablate([0, 1, 2]))))


def test_an_edit_adds_decoder_rows_to_the_activations(site: ModelSite, sae: SAE, blocks: TokenBlocks) -> None:
    def by_hand(x: torch.Tensor) -> torch.Tensor:
        codes = torch.from_numpy(sae.encode(x).toarray())
        changed = codes.clone()
        changed[:, 3], changed[:, 7] = 2.0, -1.0
        return x + (changed - codes) @ sae.W_dec  # the error of the SAE is kept

    edit = Intervention(site, sae, clamp([3, 7], [2.0, -1.0]))
    expected = site.spliced_loss(blocks, by_hand)
    assert edited_losses(site, blocks, [edit]).mean() == pytest.approx(expected, rel=1e-6)
    assert expected != pytest.approx(site.spliced_loss(blocks, lambda x: x), rel=1e-4)


def test_codes_that_are_replaced_are_those_of_the_edit(site: ModelSite, sae: SAE, blocks: TokenBlocks) -> None:
    other = sparse.random(blocks.n_tokens, sae.d_sae, 0.05, format="csr", dtype=np.float32, random_state=0)
    shift = Intervention(site, sae, replace_codes(other)).shift(site.read(blocks))
    expected = (other - sae.encode(site.read(blocks))).toarray() @ sae.W_dec.numpy()
    assert shift is not None
    assert_close(shift.numpy(), expected, atol=1e-5, rtol=1e-5)


def test_only_given_positions_are_edited(site: ModelSite, sae: SAE, blocks: TokenBlocks) -> None:
    at = np.zeros(blocks.tokens.shape, bool)
    at[:, 10] = True
    edit = Intervention(site, sae, add([2], 5.0))
    plain, edited = edited_losses(site, blocks, []), edited_losses(site, blocks, [edit], at)
    column = np.broadcast_to(np.arange(blocks.n_ctx), blocks.tokens.shape)[blocks.valid]
    assert np.array_equal(plain[column <= 10], edited[column <= 10])
    assert (plain[column == 11] != edited[column == 11]).all()
    assert (plain[column > 11] != edited[column > 11]).any()  # attention carries it on
    with pytest.raises(MismatchError, match=r"expected a mask \[\d+, 32\], found \[32\]"):
        edited_losses(site, blocks, [edit], at[0])  # one row would stand for every block
    at[:, 0] = True  # BOS is not text
    assert np.array_equal(edited, edited_losses(site, blocks, [edit], at))


def test_one_feature_each(site: ModelSite, sae: SAE, blocks: TokenBlocks) -> None:
    codes = sae.encode(site.read(blocks))
    largest = np.asarray(codes.argmax(axis=1)).ravel()
    left = codes + ablate_one_each(largest)(codes)
    assert (left[np.arange(len(largest)), largest] == 0).all()
    assert left.count_nonzero() == codes.nnz - len(largest)
    with pytest.raises(MismatchError, match=r"\(3,\) features for \d+ tokens"):
        ablate_one_each([0, 1, 2])(codes)


def test_where_a_feature_fires(site: ModelSite, sae: SAE, blocks: TokenBlocks) -> None:
    x = site.read(blocks)
    codes = sae.encode(x)
    often = np.argsort(-codes.getnnz(axis=0))[:2]
    firing = clamp(often, [9.0, 8.0], where="firing")(codes) + codes
    assert_close(firing[:, often].max(axis=0).toarray(), np.float32([[9.0, 8.0]]))
    assert_close(
        firing[:, often].sum(axis=0).A1, np.array([9.0, 8.0]) * codes[:, often].getnnz(axis=0), check_dtype=False
    )
    assert firing.nnz == codes.nnz
    everywhere = clamp(often, [9.0, 8.0])(codes) + codes
    assert_close(everywhere[:, often].toarray(), np.tile(np.float32([9.0, 8.0]), (len(x), 1)))
    largest = codes.max(axis=0).toarray().ravel()
    assert of_maximum(often, 2, largest) == pytest.approx(2 * largest[often])


def test_normalised_tokens_are_edited_in_their_own_units(site: ModelSite, sae: SAE, blocks: TokenBlocks) -> None:
    scaled = replace(sae, normalize_activations="layer_norm")
    x = site.read(blocks)
    codes = scaled.encode(x)
    without = codes + ablate([2, 3])(codes)
    shift = Intervention(site, scaled, ablate([2, 3])).shift(x)
    expected = scaled.decode(without, like=x) - scaled.decode(codes, like=x)
    assert shift is not None
    assert_close(shift.numpy(), expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(MismatchError, match="normalises each token: pass"):
        scaled.contribution(codes)


def test_a_transcoder_is_edited_where_it_writes(model, sae: SAE, blocks: TokenBlocks) -> None:
    reads, writes = ModelSite(model, "blocks.1.mlp.hook_in"), ModelSite(model, "blocks.1.hook_mlp_out")
    transcoder = replace(sae, transcoder=True, apply_b_dec_to_input=False)
    edit = Intervention(reads, transcoder, ablate([0, 1, 2]), site_out=writes)
    edited = edited_losses(reads, blocks, [edit])
    shifts = sae.contribution(ablate([0, 1, 2])(transcoder.encode(reads.read(blocks))))
    assert edited.mean() == pytest.approx(writes.spliced_loss(blocks, lambda y: y + shifts), rel=1e-6)
    assert not np.array_equal(edited, edited_losses(reads, blocks, []))
    with pytest.raises(ModelError, match="reads a hook that comes before"):
        edited_losses(reads, blocks, [Intervention(writes, transcoder, ablate([0]), site_out=reads)])
    with pytest.raises(MismatchError, match="give the model at that hook as site_out"):
        Intervention(reads, transcoder, ablate([0]))
    with pytest.raises(MismatchError, match="site_out is for transcoders"):
        Intervention(reads, sae, ablate([0]), site_out=writes)


def test_gradients_pass_as_if_a_vector_had_been_added(site: ModelSite, sae: SAE, blocks: TokenBlocks) -> None:
    edit, part = Intervention(site, sae, clamp([3], 4.0)), blocks.take(np.arange(3))
    weight = next(site.model.bridge.parameters())
    assert not logits(site, part, edit).requires_grad
    through = logits(site, part, edit, gradient=True)
    gradient = torch.autograd.grad(through.square().sum(), weight)[0]
    assert gradient.abs().max() > 0


def test_gradients_equal_finite_differences_in_float64(blocks: TokenBlocks, site: ModelSite) -> None:
    """The derivative of the loss by a feature's code is ⟨d, ∂L/∂x⟩."""
    bridge = site.model.bridge.double()
    try:
        part = blocks.take(np.arange(2))
        tokens, _ = to_device(part, site.device)
        direction = torch.randn(site.d_in, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

        def loss(step: torch.Tensor) -> torch.Tensor:
            def moved(activation: torch.Tensor, hook: object) -> torch.Tensor:
                shift = torch.zeros_like(activation)
                shift[:, 5] = direction
                return activation + step * shift

            output = bridge.run_with_hooks(tokens, fwd_hooks=[(site.hook, moved)], return_type="logits")
            return torch.nn.functional.cross_entropy(output[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())

        zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(loss(zero), zero)
        with torch.no_grad():
            step = torch.tensor(1e-5, dtype=torch.float64)
            assert float((loss(step) - loss(-step)) / (2 * step)) == pytest.approx(float(slope), rel=1e-6)
        assert abs(float(slope)) > 1e-6
    finally:
        bridge.float()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: clamp([0], float("nan")), "values of an intervention: expected finite numbers"),
        (lambda: add([0], float("inf")), "amounts of an intervention"),
        (lambda: multiply([0, 0], 2), "one is named twice"),
        (lambda: ablate([0.5]), r"expected indices \[n\], found float64 values, not integers"),
        (lambda: ablate([]), r"expected indices \[n\], found none"),
        (lambda: ablate([[1, 2]]), r"expected indices \[n\], found an array \[1, 2\]"),
        (lambda: ablate(np.array([True, False])), r"found a mask; give numpy.flatnonzero\(mask\)"),
        (lambda: clamp([3, 4], [1.0, 2.0, 3.0]), r"values .*: expected one .* or one for each of 2, found \[3\]"),
        (lambda: add([3, 4], [1.0, 2.0, 3.0]), r"amounts .*: expected one .* or one for each of 2, found \[3\]"),
        (lambda: clamp([0], 1, where="nowhere"), "expected 'firing' or 'everywhere', found 'nowhere'"),
        (lambda: of_maximum([1], 2, [3.0, 0.0]), "feature 1 never fires"),
        (lambda: ablate([48])(sparse.csr_matrix((2, 48), dtype=np.float32)), "indices from 0 to 47 exist, found 48"),
        (lambda: replace_codes(sparse.csr_matrix((3, 48)))(sparse.csr_matrix((2, 48))), r"expected codes \[2, 48\]"),
    ],
)
def test_bad_changes_are_refused(make, message: str) -> None:
    with pytest.raises(UniversalityError, match=message):
        make()


def test_saes_of_other_models_are_refused(site: ModelSite, sae: SAE) -> None:
    with pytest.raises(MismatchError, match="the SAE reads 20 activations a token, model 'A' has 32"):
        Intervention(site, random_sae(20, 48, seed=0), ablate([0]))
    foreign = replace(sae, metadata={"model": {"name": "B", "hash": "0" * 64}})
    with pytest.raises(MismatchError, match="trained on model 'B'"):
        Intervention(site, foreign, ablate([0]))
    tokens, mask = torch.zeros((1, 4), dtype=torch.int64), torch.ones((1, 5), dtype=torch.bool)
    with pytest.raises(MismatchError, match="expected a mask"):
        edited_logits(site, tokens, [Intervention(site, sae, ablate([0]))], mask)


def test_losses_that_no_one_can_use_are_refused(site: ModelSite, sae: SAE, blocks: TokenBlocks) -> None:
    foreign = replace(blocks, tokens=np.where(blocks.valid, 300, 0).astype(np.int32), d_vocab=301)
    with pytest.raises(MismatchError, match="blocks: model 'A' embeds ids from 0 to 299, found 0 to 300: the ids are"):
        edited_losses(site, foreign, [])
    damaged = replace(sae, W_dec=sae.W_dec.clone())
    damaged.W_dec[:, 0] = torch.nan  # after the SAE has looked at its weights
    with pytest.raises(ModelError, match=r"are not finite at \d+ of \d+ tokens; look for NaN in the weights"):
        edited_losses(site, blocks, [Intervention(site, damaged, clamp([3], 1.0))])


def test_a_hook_behind_which_nothing_follows_is_refused(blocks: TokenBlocks) -> None:
    model = new_model(ARCHITECTURE, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=0, name="A")
    site = ModelSite(model, "blocks.1.mlp.hook_post")
    check_effect(site)
    with torch.no_grad():
        model.bridge.blocks[1].mlp.out.original_component.weight.zero_()
    with pytest.raises(ModelError, match=r"nothing that model 'A' predicts depends on blocks\.1\.mlp\.out"):
        check_effect(site)

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from tests.effects.conftest import ARCHITECTURE, collected
from universality.activations import ModelSite
from universality.corpus import TokenBlocks
from universality.effects.contexts import Contexts, random_positions
from universality.effects.jacobian import MeanJacobian
from universality.effects.jacobian_estimation import jacobian_spread, mean_jacobian, moved_ends
from universality.effects.model_features import ModelFeatures
from universality.errors import MismatchError, ModelError, UniversalityError
from universality.models.directions import stream_end
from universality.models.forward import to_device
from universality.models.language_model import new_model, weights
from universality.similarity import Similarity


@pytest.fixture(scope="module")
def linear(blocks: TokenBlocks) -> tuple[ModelSite, np.ndarray]:
    """A model that is linear behind the values of its last attention, which looks at all positions alike."""
    model = new_model(ARCHITECTURE, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=4, name="linear")
    held = weights(model.bridge)
    with torch.no_grad():
        for name in ("attn.q.weight", "attn.q.bias", "mlp.fc_out.weight"):
            held[f"layers.1.{name}"].zero_()
    return ModelSite(model, "blocks.1.attn.v.hook_out"), held["layers.1.attn.o.weight"].detach().T.numpy()


def test_of_a_linear_model_it_is_the_matrix(linear, blocks: TokenBlocks) -> None:
    """Position s reads 1/(s + 1) of each value from BOS to its own."""
    site, W_O = linear
    share = np.where(blocks.valid, 1 / (np.arange(blocks.n_ctx) + 1), 0)
    later = share[:, ::-1].cumsum(axis=1)[:, ::-1][blocks.valid].mean()
    jacobian = mean_jacobian(site, blocks, batch_blocks=7, silent=True)
    assert_allclose(jacobian.matrix, later * W_O, atol=1e-5)
    assert jacobian.n_tokens == blocks.n_tokens
    alone = mean_jacobian(site, blocks, later=False, seed=3, silent=True)
    chosen = random_positions(blocks, len(blocks), per_block=1, seed=3)
    assert_allclose(alone.matrix, share[chosen].mean() * W_O, atol=1e-5)
    assert alone.n_tokens == len(blocks)


def test_single_firings_and_the_mean_are_the_same_jacobians(site: ModelSite, sae, blocks: TokenBlocks) -> None:
    few = blocks.take(np.array([0, 20]))
    block, column = np.nonzero(few.valid)
    contexts = Contexts(np.arange(block.size), np.full(block.size, 6), block, column)
    decoder = sae.W_dec.numpy()
    of_each = moved_ends(site, few, contexts, decoder, later=True, batch_blocks=9)
    whole = mean_jacobian(site, few, silent=True)
    assert_allclose(of_each.mean(axis=0), whole.apply(decoder[6:7])[0], atol=1e-5)
    alone = moved_ends(site, few, contexts, decoder, later=False)
    assert abs(alone.mean(axis=0) - of_each.mean(axis=0)).max() > 1e-3


def test_equals_finite_differences_in_float64(blocks: TokenBlocks, sae) -> None:
    model = new_model(ARCHITECTURE, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=0, name="A")
    site, bridge = ModelSite(model, "blocks.0.hook_resid_post"), model.bridge.double()
    one = blocks.take(np.array([20]))  # a short one: behind its text nothing counts
    tokens, text = to_device(one, site.device)
    direction = sae.W_dec[6].double()

    def end(column: int, step: float) -> torch.Tensor:
        ends: list[torch.Tensor] = []

        def moved(x: torch.Tensor, hook: object) -> torch.Tensor:
            x = x.clone()
            x[0, column] += step * direction
            return x

        hooks = [(site.hook, moved), (stream_end(bridge), lambda x, hook: ends.append(x.clone()))]
        with torch.no_grad():
            bridge.run_with_hooks(tokens, fwd_hooks=hooks, return_type=None)
        return ends[0][text].sum(0)

    columns = np.flatnonzero(one.valid[0])
    by_differences = torch.stack([(end(t, 1e-5) - end(t, -1e-5)) / 2e-5 for t in columns.tolist()])
    contexts = Contexts(np.arange(columns.size), np.full(columns.size, 6), np.zeros_like(columns), columns)
    assert_allclose(moved_ends(site, one, contexts, sae.W_dec.numpy(), later=True), by_differences, atol=1e-6)
    expected = by_differences.mean(0)
    found = mean_jacobian(site, one, silent=True).apply(sae.W_dec[6:7].numpy())[0]
    assert_allclose(found, expected, atol=1e-6)


def test_in_a_model_of_one_layer_the_layers_add_nothing_to_the_direct_path(
    one_layer: dict[str, ModelFeatures], blocks: TokenBlocks
) -> None:
    a, b = (one_layer[name].store for name in "AB")
    with pytest.raises(UniversalityError, match=r"no mean Jacobian jacobian-.* lies beside it"):
        Similarity.logit(a, b, through="layers")
    for side in one_layer.values():
        mean_jacobian(side.site, blocks.take(np.arange(4)), silent=True).save_beside(side.store)
    direct, layers = Similarity.logit(a, b), Similarity.logit(a, b, through="layers")
    assert_allclose(layers.dense(), direct.dense(), atol=1e-5)
    assert abs(direct.dense()).max() > 0.2
    assert "through" not in direct.provenance
    assert [side["later"] for side in layers.provenance["through"]] == [True, True]


def test_in_front_of_a_layer_the_two_differ(features: ModelFeatures, blocks: TokenBlocks) -> None:
    jacobian = mean_jacobian(features.site, blocks, silent=True)
    direct = Similarity.logit(features.store, features.store)
    layers = Similarity.logit(features.store, features.store, through=(jacobian, jacobian))
    living = np.flatnonzero(features.store.alive)
    assert_allclose(layers.pairs(living, living), 1, atol=1e-9)
    assert layers.dead_rows[47]
    assert abs(layers.dense() - direct.dense()).max() > 0.01
    other = replace(jacobian, hook="blocks.1.hook_out")
    with pytest.raises(MismatchError, match=r"written at blocks\.0\.hook_out .* of blocks\.1\.hook_out"):
        Similarity.logit(features.store, features.store, through=(other, jacobian))
    with pytest.raises(MismatchError, match="one sums effects on later positions"):
        Similarity.logit(features.store, features.store, through=(replace(jacobian, later=False), jacobian))
    narrow = replace(jacobian, matrix=jacobian.matrix[:, 1:])
    with pytest.raises(MismatchError, match="reads d_model 32, the mean Jacobian has 31"):
        Similarity.logit(features.store, features.store, through=(narrow, narrow))
    with pytest.raises(UniversalityError, match="through: expected 'direct', 'layers' or two mean Jacobians"):
        Similarity.logit(features.store, features.store, through="layer")  # type: ignore[arg-type]


def test_the_spread_flags_a_jacobian_that_is_no_stand_in(features: ModelFeatures, blocks: TokenBlocks) -> None:
    jacobian = mean_jacobian(features.site, blocks, silent=True)
    spread = jacobian_spread(jacobian, features, n_features=5, n_firings=3)
    assert (spread.n_firings == 3).all()
    assert spread.cosine.mean() > 0.75
    assert (spread.lowest <= spread.cosine).all()
    assert spread.flagged.tolist() == (spread.cosine < 0.7).tolist()
    assert spread.flagged.sum() == 1
    assert spread.to_frame().columns.tolist() == ["feature", "n_firings", "cosine", "lowest", "flagged"]
    turned = replace(jacobian, matrix=np.roll(jacobian.matrix, 1, axis=1))
    assert jacobian_spread(turned, features, chosen=spread.feature, n_firings=3).flagged.all()
    with pytest.raises(UniversalityError, match="none of the features fires"):
        jacobian_spread(jacobian, features, chosen=[47])
    with pytest.raises(MismatchError, match=r"of another of model .* features write at blocks\.0\.hook_out"):
        jacobian_spread(replace(jacobian, hook="another"), features)


def test_the_spread_of_a_linear_path_is_none(one_layer: dict[str, ModelFeatures], blocks: TokenBlocks) -> None:
    side = one_layer["A"]
    spread = jacobian_spread(mean_jacobian(side.site, blocks.take(np.arange(2)), silent=True), side, n_features=6)
    assert_allclose(spread.lowest, 1, atol=1e-6)


def test_bad_input(model, blocks: TokenBlocks) -> None:
    with pytest.raises(UniversalityError, match="expected blocks of text, found none"):
        mean_jacobian(ModelSite(model, "blocks.0.hook_out"), blocks.take(np.zeros(0, np.int64)))
    with pytest.raises(ModelError, match=r"does not depend on ln_final\.hook_out"):
        mean_jacobian(ModelSite(model, "ln_final.hook_out"), blocks.take(np.arange(2)), silent=True)
    identity: MeanJacobian = mean_jacobian(
        ModelSite(model, "blocks.1.hook_out"), blocks.take(np.arange(2)), silent=True
    )
    assert_allclose(identity.matrix, np.eye(32), atol=1e-6)


def test_a_hook_behind_which_nothing_follows_has_no_jacobian(blocks: TokenBlocks) -> None:
    deaf = new_model(ARCHITECTURE, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=0, name="deaf")
    site = ModelSite(deaf, "blocks.1.mlp.hook_post")
    with torch.no_grad():
        weights(deaf.bridge)["layers.1.mlp.fc_out.weight"].zero_()
    with pytest.raises(ModelError, match=r"residual stream of model 'deaf' does not depend on blocks\.1\.mlp"):
        mean_jacobian(site, blocks.take(np.arange(1)), silent=True)


def test_features_that_never_fire_have_no_spread(features: ModelFeatures, blocks: TokenBlocks, tmp_path: Path) -> None:
    jacobian = mean_jacobian(features.site, blocks.take(np.arange(1)), silent=True)
    with pytest.raises(UniversalityError, match="none of the features fires on the text that may be taken"):
        jacobian_spread(jacobian, features, chosen=[47])
    sae = features.require_sae()
    silent = collected(tmp_path, features.site, replace(sae, b_enc=torch.full_like(sae.b_enc, -1e6)), blocks)
    with silent.store, pytest.raises(UniversalityError, match="none of the features fires on the text"):
        jacobian_spread(jacobian, silent)

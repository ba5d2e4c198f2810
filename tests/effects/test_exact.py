"""Exact effects are those computed by hand, and first-order ones are told apart from them."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.effects.planted import planted, text
from tests.effects.stores import Collected, collected, neurons
from universality.corpus import TokenBlocks
from universality.effects import Intervention, ModelFeatures, ablate, collect_effects, edited_losses, exact_effects
from universality.effects.exact import ablated_losses
from universality.effects.firing_sample import FiringSample
from universality.errors import MismatchError
from universality.features import FeatureStore
from universality.features.collection import collect
from universality.models.forward import token_losses

TEXT = text(40)


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Collected:
    """Toys whose logits are linear in the codes, with effects so small that the softmax is nearly linear too."""
    counts = {"same": 4, "mlp": 4, "attention": 4}
    return collected(tmp_path_factory.mktemp("linear"), planted(counts, TEXT, size=0.02))


@pytest.fixture(scope="module")
def bent(tmp_path_factory: pytest.TempPathFactory) -> Collected:
    return collected(tmp_path_factory.mktemp("bent"), planted({"curved": 6, "hidden": 6}, TEXT))


def test_first_order_is_exact_in_a_linear_toy(linear: Collected) -> None:
    toy = linear.pair.a
    result = exact_effects(linear.features("A"), linear.effects["A"], n=300)
    by_hand = toy.exact(TEXT, result.firings.row, result.firings.feature)
    assert_allclose(result.exact, by_hand, atol=1e-5)
    assert result.accuracy().spearman > 0.999
    assert result.accuracy().slope == pytest.approx(1, abs=0.01)


def test_first_order_is_told_apart_where_a_feature_acts_through_a_bend(bent: Collected) -> None:
    toy = bent.pair.a
    result = exact_effects(bent.features("A"), bent.effects["A"], n=300)
    assert_allclose(result.exact, toy.exact(TEXT, result.firings.row, result.firings.feature), atol=1e-5)
    path = np.array(toy.path)[result.firings.feature]
    curved, hidden = result.accuracy(path == "curved"), result.accuracy(path == "hidden")
    assert curved.slope < 0.5  # first order takes f where only f − 1 acts
    assert hidden.spearman < 0.7  # and sees nothing of the features whose neuron is off while they fire
    assert hidden.mean_exact > 2 * hidden.mean_first_order


def test_neurons_are_ablated_too(linear: Collected, tmp_path: Path) -> None:
    toy = linear.pair.a
    activations, effects = neurons(tmp_path, toy, linear.pair)
    result = exact_effects(ModelFeatures(toy.site, None, activations, TEXT), effects, n=200)
    assert result.accuracy().slope == pytest.approx(1, abs=0.1)
    large = np.abs(result.exact) > 1e-3
    # a neuron carries several features, and without it some neurons of the next layer cross their bend
    assert np.corrcoef(result.exact[large], result.firings.first_order[large])[0, 1] > 0.9


def test_blocks_of_any_length_and_heads_are_ablated_at_one_token(features: ModelFeatures, blocks: TokenBlocks) -> None:
    """One firing at a time by an intervention, among full and short blocks."""
    site, sae = features.site, features.require_sae()
    rows = np.array([blocks.n_tokens - 4, 3, 40, blocks.n_tokens - 8])
    fires = np.array([int(row.argmax()) for row in sae.encode(site.read(blocks))[rows].toarray()])
    zeros = np.zeros(4)
    firings = FiringSample(fires, rows, zeros, zeros, zeros.astype(int), zeros.astype(int), zeros + 1)
    changes = ablated_losses(features, firings)
    plain = token_losses(site.model.bridge, blocks)
    for row, feature, change in zip(rows, fires, changes, strict=True):
        at = np.zeros(blocks.tokens.shape, bool)
        at[blocks.valid] = np.arange(blocks.n_tokens) == row
        edited = edited_losses(site, blocks, [Intervention(site, sae, ablate([feature]))], at)
        assert change == pytest.approx((edited - plain).sum(dtype=np.float64), abs=2e-5)
        assert abs(change) > 1e-4


def test_stores_of_other_origin_are_refused(linear: Collected, bent: Collected, tmp_path: Path) -> None:
    a, features = linear.pair.a, linear.features("A")
    with pytest.raises(MismatchError, match="expected a store of quantity 'effect', found 'activation'"):
        exact_effects(features, features.store)
    with pytest.raises(MismatchError, match=r"its model is .* give two stores of one SAE"):
        exact_effects(features, linear.effects["B"])
    part = TEXT.take(np.arange(4))
    collect(a.site, {tmp_path / "a.h5": a.sae}, part)
    collect_effects(a.site, {tmp_path / "e.h5": a.sae}, part)
    with FeatureStore.open(tmp_path / "e.h5") as other, pytest.raises(MismatchError, match="its tokens are not those"):
        exact_effects(features, other)

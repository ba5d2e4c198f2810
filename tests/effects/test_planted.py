"""The toy models do what is said of them, so that tests may rely on it."""

import numpy as np
import pytest

from tests.effects.planted import COUNTS, Planted, planted
from universality.effects import Intervention, ablate, edited_losses
from universality.models.forward import token_losses


@pytest.fixture(scope="module")
def pair() -> Planted:
    return planted({**COUNTS, "curved": 4, "hidden": 4}, n_near=1)


def test_codes_are_the_planted_ones(pair: Planted) -> None:
    for toy in (pair.a, pair.b):
        expected = toy.codes[pair.blocks.tokens][pair.blocks.valid]
        assert np.abs(toy.sae.encode(toy.site.read(pair.blocks)).toarray() - expected).max() < 1e-5


@pytest.mark.parametrize("path", ["direct", "mlp", "attention", "curved", "hidden"])
def test_effects_by_hand_are_those_of_the_model(pair: Planted, path: str) -> None:
    toy, part = pair.a, pair.blocks.take(np.arange(8))
    feature = toy.path.index(path)
    row = int(np.flatnonzero(toy.codes[part.tokens][part.valid][:, feature])[3])
    at = np.zeros(part.tokens.shape, bool)
    at[part.valid] = np.arange(part.n_tokens) == row
    edited = edited_losses(toy.site, part, [Intervention(toy.site, toy.sae, ablate([feature]))], at)
    change = (edited - token_losses(toy.site.model.bridge, part)).sum(dtype=np.float64)
    assert abs(change) > 1e-3
    assert change == pytest.approx(toy.exact(part, np.array([row]), np.array([feature]))[0], abs=1e-5)


def test_relations_show_where_both_fire(pair: Planted) -> None:
    effects_a, effects_b = pair.a.first_order(pair.blocks), pair.b.first_order(pair.blocks)
    r = np.array([_r(effects_a[:, i], effects_b[:, j]) for i, j in enumerate(pair.partner)])
    assert r[pair.rows("same", "mlp", "attention")].min() > 0.95
    assert r[pair.rows("opposite")].max() < -0.95
    assert np.abs(r[pair.rows("independent")]).max() < 0.15
    assert np.median(r[pair.rows("elsewhere")]) > 0.9


def _r(x: np.ndarray, y: np.ndarray) -> float:
    both = (x != 0) & (y != 0)
    return float(np.corrcoef(x[both], y[both])[0, 1])

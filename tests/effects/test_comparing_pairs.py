"""Pairs of toy models whose features' effects are known."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.effects.planted import Planted, Toy, planted, text
from universality.effects import FingerprintSettings, ModelFeatures, PairEffects, TokenSet, measure_pair_effects
from universality.effects.contexts import Contexts, firing_alike, joint_firings, joint_rows
from universality.effects.fingerprinting import pair_fingerprints
from universality.effects.pair_effects import N_TOKENS
from universality.errors import UniversalityError
from universality.features import FeatureStore
from universality.features.collection import collect

SILENT = FingerprintSettings(silent=True)
COUNTS = {"same": 6, "opposite": 6, "independent": 6, "mlp": 3, "elsewhere": 3}


@dataclass(frozen=True, eq=False)
class World:
    """Toys, their features, and the tokens over which they are compared."""

    pair: Planted
    a: ModelFeatures
    b: ModelFeatures
    tokens: TokenSet

    @property
    def rows(self) -> np.ndarray:
        return np.arange(len(self.pair.relation))

    def measured(self, **options: object) -> PairEffects:
        both = self.tokens, self.tokens
        options = {"settings": SILENT} | options
        return measure_pair_effects(self.a, self.b, both, self.rows, self.pair.partner, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    pair = planted(COUNTS, text(n_documents=60, blocks=1), n_near=2)
    folder, sides = tmp_path_factory.mktemp("toys"), []
    for toy in (pair.a, pair.b):
        path = folder / f"{toy.site.name}.h5"
        collect(toy.site, {path: toy.sae}, pair.blocks)
        sides.append(ModelFeatures(toy.site, toy.sae, FeatureStore.open(path), pair.blocks))
    weight = np.random.default_rng(0).uniform(0.1, 1, pair.blocks.d_vocab)
    yield World(pair, *sides, TokenSet.of(np.arange(pair.blocks.d_vocab), weight))
    for side in sides:
        side.store.close()


@pytest.fixture(scope="module")
def effects(world: World) -> PairEffects:
    return world.measured()


def by_hand(toy: Toy, world: World, contexts: Contexts, target: np.ndarray, n_pairs: int) -> np.ndarray:
    """Mean changes of probabilities [n_pairs, d_vocab] when each context's feature is set to target[feature]."""
    logits = toy._logits(world.pair.blocks)[contexts.block, contexts.column]
    f = toy.codes[world.pair.blocks.tokens[contexts.block, contexts.column], contexts.feature]
    after = logits + (target[contexts.feature] - f)[:, None] * toy.weights[contexts.feature]
    total = np.zeros((n_pairs, logits.shape[1]))
    np.add.at(total, contexts.row, softmax(after) - softmax(logits))
    return total / np.maximum(np.bincount(contexts.row, minlength=n_pairs), 1)[:, None]


def softmax(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def test_equal_and_opposite_effects_are_told_from_independent_ones(world: World, effects: PairEffects) -> None:
    """The planted relation decides r, and controls, which fire at the same tokens, have none."""
    of = {name: world.pair.rows(name) for name in COUNTS}
    both_fire = of["same"], of["opposite"], of["independent"], of["mlp"]
    assert (effects.n_contexts[np.concatenate(both_fire)] == 8).all()
    assert effects.r[of["same"]].min() > 0.98
    assert effects.r[of["mlp"]].min() > 0.98
    assert effects.r[of["opposite"]].max() < -0.98
    assert abs(effects.r[of["independent"]]).max() < 0.25
    assert (effects.r[of["same"]] > effects.chance()).all()
    assert (effects.r[of["independent"]] > effects.chance(1.0)).mean() < 0.25  # chance level does not pass
    assert abs(effects.control_r[np.concatenate(both_fire)]).max() < 0.3
    assert (effects.control_share[np.concatenate(both_fire)] >= 0.5).all()
    assert (effects.controls != world.pair.partner).all()


def test_the_tokens_are_those_that_change_most(world: World, effects: PairEffects) -> None:
    n, partner = len(effects), world.pair.partner
    sides = joint_firings(world.a, world.b, world.rows, partner, 8)
    direct = np.concatenate([world.pair.rows(name) for name in ("same", "opposite", "independent", "mlp")])
    for side, (toy, contexts) in enumerate(zip((world.pair.a, world.pair.b), sides, strict=True)):
        largest = (world.a, world.b)[side].store.moments().max
        for how, times in enumerate((0.0, 1.0)):
            change = by_hand(toy, world, contexts, times * largest, n)
            for p in direct:
                for direction, sign in enumerate((1, -1)):
                    shown = effects.tokens[side, p, how, direction], effects.changes[side, p, how, direction]
                    assert_allclose(sign * shown[1], np.sort(sign * change[p])[: -N_TOKENS - 1 : -1], atol=2e-7)
                    assert_allclose(shown[1], change[p][shown[0]], atol=2e-7)
    a, b = effects.tokens[:, world.pair.rows("same"), 1, 0]
    assert np.mean([np.intersect1d(x, y).size for x, y in zip(a, b, strict=True)]) > 6
    b = effects.tokens[1, world.pair.rows("opposite"), 1, 1]  # what one raises, the other lowers
    a = effects.tokens[0, world.pair.rows("opposite"), 1, 0]
    assert np.mean([np.intersect1d(x, y).size for x, y in zip(a, b, strict=True)]) > 3  # 0.25 by chance


def test_pairs_that_never_fire_together_have_no_numbers(world: World) -> None:
    alone = np.flatnonzero((world.pair.a.codes[:, [0]] * world.pair.b.codes > 0).sum(axis=0) == 0)
    assert alone.size
    both = world.tokens, world.tokens
    found = measure_pair_effects(world.a, world.b, both, [0, 0], [alone[0], world.pair.partner[0]], settings=SILENT)
    assert found.n_contexts.tolist() == [0, 8]
    assert np.isnan(found.r[0]).all()
    assert np.isnan(found.control_r[0]).all()
    assert np.isfinite(found.r[1]).all()
    assert (found.tokens[:, 0] == -1).all()
    assert not found.changes[:, 0].any()


def test_numbers_do_not_depend_on_the_memory_budget(world: World, effects: PairEffects) -> None:
    small = world.measured(settings=replace(SILENT, memory_budget=6 * 8 * 257 * 5))  # five pairs at a time
    assert_allclose(small.r, effects.r, atol=1e-6)
    assert_allclose(small.changes, effects.changes, atol=1e-7)
    np.testing.assert_array_equal(small.controls, effects.controls)


def test_clamping_is_a_fingerprint_of_its_own(world: World) -> None:
    both = world.tokens, world.tokens
    rows = world.pair.rows("same", "opposite")
    partners, of = world.pair.partner[rows], {"n_contexts": 8, "settings": SILENT}
    made = pair_fingerprints(world.a, world.b, both, rows, partners, times=2, **of)
    plain = pair_fingerprints(world.a, world.b, both, rows, partners, **of)
    assert [one.how for one in (*made, *plain)] == ["clamping to 2 × maximum"] * 2 + ["ablation"] * 2
    # ablating takes a feature's weights away, and twice the maximum adds them
    for weighting in ("equal", "probability"):
        r = (made[0].factor(weighting) * plain[0].factor(weighting)).sum(axis=1)
        assert r.max() < -0.98


def test_the_control_fires_at_the_pair_s_tokens_and_about_as_often(world: World) -> None:
    pair, store_row = joint_rows(world.a, world.b, world.rows, world.pair.partner, 8)
    found, share = firing_alike(world.b, pair, store_row, world.pair.partner)
    fires = world.b.store.csr().toarray() > 0
    count = np.log(np.maximum(fires.sum(axis=0), 1))
    for p, partner in enumerate(world.pair.partner):
        at = store_row[pair == p]
        if not at.size:
            assert (found[p], share[p]) == (-1, 0)
            continue
        shares = fires[at].mean(axis=0)
        shares[partner] = 0
        assert share[p] == pytest.approx(shares[found[p]])
        if shares.max() >= 0.5:
            unlike = np.where(shares >= 0.5, abs(count - count[partner]), np.inf)
            assert unlike[found[p]] == unlike.min()
        else:
            assert share[p] == shares.max()


def test_joint_tokens_are_the_same_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = joint_rows(world.a, world.b, world.rows, world.pair.partner, 8)
    monkeypatch.setattr("universality.effects.contexts._HELD", 200)
    parts = joint_rows(world.a, world.b, world.rows, world.pair.partner, 8)
    for x, y in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(x, y)


def test_bad_input(world: World) -> None:
    with pytest.raises(UniversalityError, match="changes are of the position itself"):
        world.measured(settings=replace(SILENT, later=True))
    with pytest.raises(UniversalityError, match="n_contexts: expected at least 1, found 0"):
        world.measured(n_contexts=0)
    with pytest.raises(UniversalityError, match="expected finite numbers"):
        world.measured(times=float("nan"))


def test_controls_are_absent_where_nothing_else_fires(world: World, tmp_path: Path) -> None:
    """An SAE of one feature has none to compare with."""
    one = replace(world.pair.b.sae, **_only(world.pair.b.sae, int(world.pair.partner[0])))
    collect(world.pair.b.site, {tmp_path / "one.h5": one}, world.pair.blocks)
    with FeatureStore.open(tmp_path / "one.h5") as store:
        b = ModelFeatures(world.pair.b.site, one, store, world.pair.blocks)
        found = measure_pair_effects(world.a, b, (world.tokens, world.tokens), [0], [0], settings=SILENT)
    assert found.controls.tolist() == [-1]
    assert np.isnan(found.control_r).all()
    assert found.r.min() > 0.98


def _only(sae: object, feature: int) -> dict[str, object]:
    part = slice(feature, feature + 1)
    return {
        "W_enc": sae.W_enc[:, part].contiguous(), "b_enc": sae.b_enc[part], "W_dec": sae.W_dec[part],  # type: ignore[attr-defined]
        "threshold": sae.threshold[part],  # type: ignore[attr-defined]
    }  # fmt: skip

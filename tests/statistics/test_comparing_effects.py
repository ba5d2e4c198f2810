"""Effects of matched features, with planted agreement, disagreement, independence, and controls that must fail."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from universality.errors import MismatchError, UniversalityError
from universality.features import FeatureStore
from universality.matching import Match, match
from universality.similarity import Similarity
from universality.statistics import EffectAgreement, FeaturePairs, compare_effects, evaluation_halves
from universality.statistics.co_firing_effects import MIN_TOKENS
from universality.statistics.synthetic import World, write_view
from universality.statistics.synthetic_effects import EffectWorld, PlantedEffects, plant_effects

# Concepts share a third of their firings with another one, so that pairs have controls.
WORLD = World(n_documents=90, blocks=2, n_shared=40, n_alone=10, density=(0.05, 0.1), topic_share=0.6, correlated=0.3)


def chosen(inputs: PlantedEffects) -> Match:
    return match(Similarity.activation(inputs.a, inputs.b, documents=evaluation_halves(inputs.a).choose))


@pytest.fixture(scope="module")
def equal(tmp_path_factory):
    planted, inputs = plant_effects(WORLD, EffectWorld("equal"), tmp_path_factory.mktemp("equal"))
    matched = chosen(inputs)
    return planted, inputs, matched, compare_effects(matched, *inputs)


def test_equal_effects_are_found(equal) -> None:
    planted, _, matched, result = equal
    frame, true = result.to_frame(), planted.is_true(matched.rows, matched.cols)
    assert true.sum() == WORLD.n_shared
    assert (frame["q"][true] <= 0.05).mean() > 0.95
    assert frame["r_per_norm"][true].median() > 0.75
    assert (frame["sign_agreement"] - frame["sign_chance"])[true].median() > 0.2
    assert (frame["control_rank"][true] == 1).mean() > 0.95
    assert abs(frame["control_r"][true].median()) < 0.1
    low, high = result.summary().median_ci
    assert low < frame["r_per_norm"].median() < high
    inside = (frame["ci_low"] <= frame["r_per_norm"]) & (frame["r_per_norm"] <= frame["ci_high"])
    assert inside[true].mean() > 0.95
    assert not (frame["q_opposite"] <= 0.05).any()


def test_numbers_of_a_pair_are_those_of_the_tokens_where_both_fire(equal) -> None:
    _, inputs, _, result = equal
    a, b, e_a, e_b = (store.csr().toarray().astype(float) for store in inputs[:4])
    report = np.isin(inputs.a.tokens.document, evaluation_halves(inputs.a).report) & (inputs.norm_a > 0)
    for pair in result.pairs.head(10).itertuples():
        both = report & (a[:, pair.row] != 0) & (b[:, pair.col] != 0)
        assert pair.n == both.sum()
        if pair.n < MIN_TOKENS:
            assert np.isnan(pair.r)
            continue
        x, y = e_a[both, pair.row], e_b[both, pair.col]
        assert_allclose(pair.r, np.corrcoef(x, y)[0, 1], atol=1e-6)
        per_norm = np.corrcoef(x / inputs.norm_a[both], y / inputs.norm_b[both])[0, 1]
        assert_allclose(pair.r_per_norm, per_norm, atol=1e-6)
        assert_allclose(pair.sign_agreement, (np.sign(x) == np.sign(y)).mean())
        up = (x > 0).mean(), (y > 0).mean()
        assert_allclose(pair.sign_chance, up[0] * up[1] + (1 - up[0]) * (1 - up[1]))


def test_the_interval_of_the_median_covers_the_median_on_other_documents(tmp_path: Path) -> None:
    world = World(n_documents=60, blocks=2, n_shared=30, n_alone=0, density=(0.05, 0.1), topic_share=1.0)
    medians, intervals = [], []
    for seed in range(10):
        _, inputs = plant_effects(world, EffectWorld("equal"), tmp_path / str(seed), seed)
        found = compare_effects(chosen(inputs), *inputs, permutations=0, controls=0).summary()
        assert found.n_groups >= 25
        medians.append(found.r_per_norm)
        intervals.append(found.median_ci)
    low, high = np.transpose(intervals)
    expected = np.mean(medians)
    assert ((low <= expected) & (expected <= high)).mean() >= 0.9
    assert (high - low).max() < 0.1
    # the control: with noisier slopes the median is another
    _, inputs = plant_effects(world, EffectWorld("equal", noise=0.6), tmp_path / "noisy", 0)
    noisy = compare_effects(chosen(inputs), *inputs, permutations=0, controls=0, bootstrap=0)
    assert noisy.summary().r_per_norm < low.min()
    assert np.isnan(noisy.summary().median_ci).all()


def test_effects_without_variation_have_no_numbers(tmp_path: Path) -> None:
    """A feature whose decoder row is 0 has no effect anywhere, and so has an SAE whose effects have rank 0."""
    world = World(n_documents=60, blocks=2, n_shared=20, n_alone=0, density=(0.05, 0.1), topic_share=1.0)
    _, inputs = plant_effects(world, EffectWorld("equal"), tmp_path)
    matched = chosen(inputs)
    whole = inputs.effects_a.csr()
    one = whole.tolil()
    silent = int(matched.rows[4])
    one[:, silent] = 0
    stores = {
        name: write_view(tmp_path / f"{name}.h5", sparse.csr_matrix(csr), world)
        for name, csr in (("one", one.tocsr()), ("all", whole * 0))
    }
    found = compare_effects(matched, *inputs._replace(effects_a=stores["one"]))
    frame, before = found.to_frame(), compare_effects(matched, *inputs).to_frame()
    of_silent = frame["row"] == silent
    assert frame["n"][of_silent].item() >= MIN_TOKENS
    assert frame["note"][of_silent].item() == "the effects of a feature do not vary"
    assert frame.loc[of_silent, ["r", "r_per_norm", "ci_low", "ci_high", "p", "q"]].isna().to_numpy().all()
    assert frame["sign_agreement"][of_silent].item() == 0
    assert_array_equal(frame["r_per_norm"][~of_silent], before["r_per_norm"][~of_silent])
    nothing = compare_effects(matched, *inputs._replace(effects_a=stores["all"])).summary()
    assert (nothing.n_compared, nothing.n_tested, nothing.n_groups) == (0, 0, 0)
    assert np.isnan([nothing.r, nothing.r_per_norm, *nothing.median_ci, nothing.share_agree]).all()


def test_controls_fire_with_the_feature_most_like_the_partner(equal) -> None:
    _, inputs, matched, result = equal
    a, b, e_a, e_b = (store.csr().toarray().astype(float) for store in inputs[:4])
    report = np.isin(inputs.a.tokens.document, evaluation_halves(inputs.a).report) & (inputs.norm_a > 0)
    frame = result.to_frame()
    k = int(frame["n_controls"].idxmax())
    row, col = matched.rows[k], matched.cols[k]
    together = ((a[report][:, [row]] != 0) & (b[report] != 0)).sum(axis=0)
    partner = together[col]
    others = np.flatnonzero((together >= MIN_TOKENS) & (np.arange(b.shape[1]) != col))
    nearest = others[np.argsort(np.abs(together[others] - partner), kind="stable")][:20]
    assert frame["n_controls"][k] == nearest.size > 0
    assert_allclose(frame["overlap"][k], np.median(together[nearest] / partner))
    r = []
    for other in nearest:
        both = report & (a[:, row] != 0) & (b[:, other] != 0)
        x, y = e_a[both, row] / inputs.norm_a[both], e_b[both, other] / inputs.norm_b[both]
        r.append(np.corrcoef(x, y)[0, 1])
    assert_allclose(frame["control_r"][k], np.median(r), atol=1e-6)
    assert frame["control_rank"][k] == 1 + (np.array(r) >= frame["r_per_norm"][k]).sum()


def test_opposite_effects_are_found_as_disagreement(tmp_path: Path) -> None:
    planted, inputs = plant_effects(WORLD, EffectWorld("opposite"), tmp_path)
    matched = chosen(inputs)
    frame, true = compare_effects(matched, *inputs).to_frame(), planted.is_true(matched.rows, matched.cols)
    assert (frame["r"][true] < 0).mean() > 0.95
    assert frame["sign_agreement"][true].median() < 0.3
    assert (frame["q_opposite"][true] <= 0.05).mean() > 0.95
    assert not (frame["q"] <= 0.05).any()


def test_independent_effects_pass_in_at_most_a_twentieth_of_the_pairs(tmp_path: Path) -> None:
    """Norms are shared, and slopes of a document resemble each other; raw effects correlate."""
    passed, tested, raw = 0, 0, []
    for seed in range(4):
        planted, inputs = plant_effects(WORLD, EffectWorld("independent"), tmp_path / str(seed), seed)
        matched = chosen(inputs)
        frame = compare_effects(matched, *inputs, controls=0, bootstrap=0).to_frame()
        frame = frame[planted.is_true(matched.rows, matched.cols)]
        passed, tested = passed + (frame["q"] <= 0.05).sum(), tested + frame["q"].notna().sum()
        raw.append(frame["r"].median())
    assert tested > 100
    assert passed <= 0.05 * tested
    # the control: without taking out what tokens share, unrelated effects look related
    assert np.mean(raw) > 0.08


def test_equal_effects_with_different_firing_have_no_number(tmp_path: Path) -> None:
    world = World(n_documents=60, blocks=2, n_shared=20, n_alone=0, density=(0.02, 0.04), topic_share=1.0)
    _, inputs = plant_effects(world, EffectWorld("equal"), tmp_path)
    firings = inputs.b.csr(), inputs.effects_b.csr()
    moved = [write_view(tmp_path / f"moved_{k}.h5", _moved(csr), world) for k, csr in enumerate(firings)]
    inputs = inputs._replace(b=moved[0], effects_b=moved[1], norm_b=np.roll(inputs.norm_b, 1))
    identity = np.arange(20)
    matched = match(Similarity.from_dense(np.eye(20)))
    assert_array_equal(matched.cols, identity)
    frame = compare_effects(matched, *inputs).to_frame()
    assert (frame["n"] < MIN_TOKENS).all()
    numbers = frame.drop(columns=["row", "col", "n", "n_controls", "note"])
    assert numbers.isna().to_numpy().all()
    assert frame["note"].str.contains("30 are needed").all()


def _moved(csr: sparse.csr_matrix) -> sparse.csr_matrix:
    return sparse.csr_matrix(sparse.vstack([csr[-1:], csr[:-1]]))


def test_fingerprints_are_scored_for_pairs_and_controls(equal) -> None:
    planted, inputs, matched, _ = equal
    rng = np.random.default_rng(0)
    of_concept = rng.normal(size=(WORLD.n_concepts, 300))
    of_concept /= np.linalg.norm(of_concept, axis=1, keepdims=True)
    y = of_concept[planted.concept_b]
    y[matched.cols[3]] = 0  # a feature without a fingerprint
    fingerprints = {"ablation": Similarity.from_factors(of_concept[planted.concept_a], y)}
    result = compare_effects(matched, *inputs, fingerprints=fingerprints, permutations=0, bootstrap=0)
    frame, true = result.to_frame(), planted.is_true(matched.rows, matched.cols)
    true[3] = False
    assert_allclose(frame["ablation_r"][true], 1)
    assert np.isnan(frame["ablation_r"][3])
    known = true & frame["ablation_rank"].notna()
    assert known.sum() > 20
    assert (frame["ablation_rank"][known] == 1).all()
    assert abs(frame["ablation_control_r"][known]).max() < 0.2
    assert result.summary().fingerprints["ablation"]["share_first"] > 0.9
    assert frame["note"][true].str.contains("no permutations|are needed").all()


def test_results_do_not_depend_on_the_other_pairs(equal) -> None:
    _, inputs, matched, result = equal
    again = [5, 6, 7, 5]  # a feature may be in several pairs
    few = FeaturePairs(matched.rows[again], matched.cols[again], matched.shape)
    part = compare_effects(few, *inputs).to_frame().drop(columns=["q", "q_opposite"])
    whole = result.to_frame().drop(columns=["q", "q_opposite"]).iloc[again].reset_index(drop=True)
    bounds = ["ci_low", "ci_high"]  # the resamples are of all units in which some pair fires
    pd.testing.assert_frame_equal(part.drop(columns=bounds), whole.drop(columns=bounds))
    nothing = FeaturePairs(matched.rows[:0], matched.cols[:0], matched.shape)
    empty = compare_effects(nothing, *inputs, fingerprints={"x": Similarity.activation(inputs.a, inputs.b)})
    assert len(empty.to_frame()) == empty.summary().n_pairs == 0


def test_saved_results_load_again_and_ceilings_are_those_of_the_features(equal, tmp_path: Path) -> None:
    _, inputs, matched, result = equal
    swapped = PlantedEffects(inputs.b, inputs.a, inputs.effects_b, inputs.effects_a, inputs.norm_b, inputs.norm_a)
    of_b = compare_effects(chosen(swapped), *swapped)
    with_both = result.with_ceilings(result, of_b)
    frame = with_both.to_frame()
    assert_array_equal(frame["ceiling_a"], frame["r_per_norm"])
    known = dict(zip(of_b.pairs["row"], of_b.pairs["r_per_norm"], strict=True))
    assert_array_equal(frame["ceiling_b"], [known.get(col, np.nan) for col in matched.cols])
    assert result.with_ceilings().to_frame()["ceiling_a"].isna().all()
    for name in ("agreement.npz", "agreement.json"):
        loaded = EffectAgreement.load(with_both.save(tmp_path / name))
        pd.testing.assert_frame_equal(loaded.to_frame(), frame)
        assert loaded.summary() == with_both.summary()
        assert loaded.settings == result.settings
        assert loaded.median_ci == result.median_ci
    early = json.loads((tmp_path / "agreement.json").read_text(encoding="utf-8"))
    del early["arrays"]["median_ci"], early["n_groups"]
    (tmp_path / "early.json").write_text(json.dumps(early), encoding="utf-8")
    read = EffectAgreement.load(tmp_path / "early.json")
    assert np.isnan(read.median_ci).all()
    assert read.n_groups == 0
    assert "pairs compared" in repr(result)
    assert "Agreement of effects" in result._repr_html_()
    with pytest.raises(MismatchError, match="expected for b a result whose rows are the features"):
        result.with_ceilings(b=result)


def test_effects_of_segments_whose_code_was_rounded_away_are_left_out(equal, tmp_path: Path, monkeypatch) -> None:
    _, inputs, matched, result = equal
    codes, effects = inputs.a.csr().tolil(), inputs.effects_a
    row, col = matched.rows[0], matched.cols[0]
    counted = np.isin(effects.tokens.document, evaluation_halves(inputs.a).report) & (inputs.norm_a > 0)
    both = (inputs.a.csr()[:, row].toarray()[:, 0] > 0) & (inputs.b.csr()[:, col].toarray()[:, 0] > 0)
    codes[np.flatnonzero(counted & both)[:3], row] = 0
    rounded = write_view(tmp_path / "rounded.h5", codes.tocsr(), WORLD)
    with pytest.raises(MismatchError, match=r"on which it does not fire in .*rounded\.h5, and 3 such effects in all"):
        compare_effects(matched, *inputs._replace(a=rounded), permutations=0)
    path = tmp_path / "segments.h5"
    with FeatureStore.create(path, effects.n_features, {"segments": {}}, effects.documents) as writer:
        tokens = effects.tokens
        columns = {"token": tokens.token, "document": tokens.document, "position": tokens.position}
        writer.append(effects.csr(), **columns, kind=np.array(tokens.kinds)[tokens.kind])
        writer.finish().close()
    monkeypatch.setattr("universality.statistics.effect_firings.ROUNDED", 4 / effects.n_stored)
    with FeatureStore.open(path) as segments:
        again = compare_effects(matched, *inputs._replace(a=rounded, effects_a=segments), permutations=0)
    assert_array_equal(result.pairs["n"] - again.pairs["n"], np.where(matched.rows == row, 3, 0))
    monkeypatch.setattr("universality.statistics.effect_firings.ROUNDED", 2 / effects.n_stored)
    with FeatureStore.open(path) as segments, pytest.raises(MismatchError, match="3 such effects"):
        compare_effects(matched, *inputs._replace(a=rounded, effects_a=segments), permutations=0)


def test_inputs_that_do_not_belong_together_are_refused(equal, tmp_path: Path) -> None:
    _, inputs, matched, _ = equal
    with pytest.raises(MismatchError, match=r"norm_a: expected the gradient's norm at each of the \d+ tokens"):
        compare_effects(matched, *inputs._replace(norm_a=inputs.norm_a[1:]))
    with pytest.raises(UniversalityError, match="norm_b: a norm is finite and not negative"):
        compare_effects(matched, *inputs._replace(norm_b=-inputs.norm_b))
    with pytest.raises(UniversalityError, match="no token of split 'report' has a gradient in both models"):
        compare_effects(matched, *inputs._replace(norm_b=0 * inputs.norm_b))
    with pytest.raises(MismatchError, match="at a token on which it does not fire"):
        compare_effects(matched, *inputs._replace(effects_a=inputs.effects_b))
    with pytest.raises(MismatchError, match="the matching is of 2 x 2 features"):
        compare_effects(match(Similarity.from_dense(np.eye(2))), *inputs)
    with pytest.raises(MismatchError, match="fingerprint 'x' is of 2 x 2 features"):
        compare_effects(matched, *inputs, fingerprints={"x": Similarity.from_dense(np.eye(2))})
    with pytest.raises(UniversalityError, match="over the budget of 100"):
        compare_effects(matched, *inputs, memory_budget=100)
    with pytest.raises(UniversalityError, match="permutations"):
        compare_effects(matched, *inputs, permutations=-1)
    with pytest.raises(TypeError, match="expected an open FeatureStore"):
        compare_effects(matched, *inputs._replace(effects_a="effects.h5"))
    narrow = FeatureStore.create(tmp_path / "narrow.h5", 1, {}, inputs.a.documents)
    tokens = inputs.a.tokens
    narrow.append(
        inputs.effects_a.csr()[:, :1], token=tokens.token, document=tokens.document, position=tokens.position,
        kind=tokens.kind_names,
    )  # fmt: skip
    with pytest.raises(MismatchError, match="effects of 1 features"):
        compare_effects(matched, *inputs._replace(effects_a=narrow.finish()))

"""Features that the loss depends on are found to carry it, and others to carry nothing."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.statistics.planted_loss import MATTER, Planted, neuron_sae
from universality.effects import Intervention, ModelFeatures, ablate_all_but, edited_losses
from universality.errors import FormatError, MismatchError, UniversalityError
from universality.features import FeatureStore
from universality.features.collection import collect
from universality.matching import match
from universality.similarity import Similarity
from universality.statistics import SharedLoss, evaluation_halves, shared_loss
from universality.statistics.carried_loss import partner_scores, random_subset

THRESHOLD = 0.999


@pytest.fixture(scope="module")
def found(planted: Planted) -> SharedLoss:
    return shared_loss(
        planted.features("own"),
        {name: planted.match(name) for name in ("shared", "other")},
        thresholds=(THRESHOLD, 2.0),
        draws=2,
    )


@pytest.mark.parametrize("error_kept", [False, True])
def test_partners_of_what_matters_carry_the_loss_and_no_others(found: SharedLoss, error_kept: bool) -> None:
    assert found.mean - found.spliced > 0.03
    assert found.spliced == pytest.approx(found.clean, abs=1e-5)
    shared = found.row("shared", THRESHOLD, "shared", error_kept)
    assert shared.n_features == MATTER.size
    assert shared.recovered == pytest.approx(1, abs=1e-4)
    assert found.row("shared", THRESHOLD, "unshared", error_kept).recovered == pytest.approx(0, abs=1e-4)
    # the control: a dictionary that shares everything but what matters
    other = found.row("other", THRESHOLD, "shared", error_kept)
    assert other.n_features > 90
    assert other.recovered == pytest.approx(0, abs=1e-4)
    assert found.row("other", THRESHOLD, "unshared", error_kept).recovered == pytest.approx(1, abs=1e-4)


def test_what_carries_the_loss_need_not_carry_the_variance(found: SharedLoss) -> None:
    shared, unshared = (found.row("shared", THRESHOLD, name) for name in ("shared", "unshared"))
    assert shared.explained_variance + unshared.explained_variance == pytest.approx(1, abs=0.01)
    assert shared.explained_variance < 0.4
    assert shared.mass + unshared.mass == pytest.approx(1)
    assert shared.mass == pytest.approx(shared.explained_variance, abs=0.1)  # orthogonal features
    everything = found.row("", math.nan, "all")
    assert (everything.recovered, everything.explained_variance) == pytest.approx((1, 1), abs=1e-5)


def test_random_subsets_carry_less(found: SharedLoss) -> None:
    for control in ("same number", "same density", "same mass"):
        row = found.row("shared", THRESHOLD, control)
        assert row.draws_low <= row.recovered <= row.draws_high < 0.9
        assert row.over_random == pytest.approx(1 - row.recovered, abs=1e-4)
        assert 0 < row.over_random_low < row.over_random < row.over_random_high
        assert row.n_features == MATTER.size or control == "same mass"
    shared = found.row("shared", THRESHOLD, "shared")
    assert found.row("shared", THRESHOLD, "same mass").mass == pytest.approx(shared.mass, rel=0.05)


def test_losses_are_those_of_an_intervention(planted: Planted, found: SharedLoss) -> None:
    report = planted.blocks.select("report")
    keep = np.setdiff1d(np.arange(planted.sae.d_sae), MATTER)
    edited = edited_losses(planted.site, report, [Intervention(planted.site, planted.sae, ablate_all_but(keep))])
    assert found.row("shared", THRESHOLD, "unshared", error_kept=True).loss == pytest.approx(edited.mean(), rel=1e-5)
    assert found.clean == pytest.approx(edited_losses(planted.site, report, []).mean(), rel=1e-6)
    assert found.n_tokens == report.n_tokens
    assert found.n_groups >= 10


def test_no_partner_above_the_threshold(found: SharedLoss) -> None:
    shared = found.row("shared", 2.0, "shared")
    assert shared.n_features == 0
    assert math.isnan(shared.recovered)
    assert math.isnan(found.row("shared", 2.0, "same mass").recovered)
    assert found.row("shared", 2.0, "unshared").recovered == pytest.approx(1)
    assert found.sentence("shared", 2.0) == "No feature of A has a partner in shared at r ≥ 2."


def test_the_sentence_and_the_table(planted: Planted, found: SharedLoss) -> None:
    said = found.sentence("shared", THRESHOLD, ceiling="other")
    assert said.startswith(
        f"Of the loss that A's SAE of {planted.sae.d_sae} features recovers (against mean ablation), features with a "
        "partner in shared at r ≥ 0.999 alone recover 100% (100% to 100%), those without 0% "
    )
    assert "; random subsets of equal mass " in said
    assert said.split("; ")[2].startswith("two SAE seeds 0%")
    assert said.endswith("no feature at all 0% (0% to 0%).")
    frame = found.to_frame()
    assert len(frame) == 2 * (2 + 2 * 2 * 5)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["rows"][0]["threshold"] is None
    with pytest.raises(UniversalityError, match=r"no row 'shared' of partners 'x' at r >= 0\.5; measured were"):
        found.row("x", 0.5, "shared")


def test_a_saved_result_is_read_as_it_was(found: SharedLoss, tmp_path: Path) -> None:
    path = found.save(tmp_path / "effects" / "A.shared_loss.json")
    read = SharedLoss.load(path)
    assert read.to_frame().equals(found.to_frame())
    assert read.as_dict() == found.as_dict()
    assert read.sentence("shared", THRESHOLD, "other") == found.sentence("shared", THRESHOLD, "other")
    assert math.isnan(read.row("shared", 2.0, "shared").recovered)
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # nothing half written beside it


def test_a_file_from_before_the_draws_were_stated_is_read(found: SharedLoss, tmp_path: Path) -> None:
    path = found.save(tmp_path / "a.json")
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["draws"]
    path.write_text(json.dumps(values), encoding="utf-8")
    assert SharedLoss.load(path).draws == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, r"expected format 'universality.shared_loss', version 1; found .* version 2"),
        ({"format": "x"}, "found 'x', version 1"),
        ({"rows": 3}, "rows must be a list, found int"),
        ({"rows": [1]}, "row 0: corrupt: expected an object, found int"),
        ({"rows": [{}]}, "row 0: corrupt: missing or unknown fields"),
        ({"clean": "low"}, "clean must be of type float, found 'low'"),
        ({"n_blocks": None}, "n_blocks must be of type int, found None"),
        ({"n_tokens": True}, "n_tokens must be of type int, found True"),
        ({"model": 1}, "model must be of type str, found 1"),
        ({"more": 1}, r"missing or unknown fields \['more'\]"),
    ],
)
def test_a_corrupt_file_is_refused(found: SharedLoss, tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = found.save(tmp_path / "a.json")
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        SharedLoss.load(path)


def test_a_truncated_or_missing_file_is_refused(found: SharedLoss, tmp_path: Path) -> None:
    path = found.save(tmp_path / "a.json")
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    with pytest.raises(FormatError, match="truncated"):
        SharedLoss.load(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        SharedLoss.load(tmp_path / "b.json")


def test_equal_seeds_give_equal_results(planted: Planted, found: SharedLoss) -> None:
    options = {"thresholds": (THRESHOLD,), "draws": 1, "n_blocks": 20}
    parts = [shared_loss(planted.features("own"), {"x": planted.match("shared")}, seed=s, **options) for s in (3, 3, 4)]
    assert parts[0].to_frame().equals(parts[1].to_frame())
    assert not parts[0].to_frame().equals(parts[2].to_frame())
    assert parts[0].n_blocks == 20


def test_more_draws_tell_how_far_random_subsets_differ(planted: Planted, found: SharedLoss) -> None:
    match = {"shared": planted.match("shared")}
    more, one = (
        shared_loss(planted.features("own"), match, thresholds=(THRESHOLD,), draws=n, n_blocks=8) for n in (5, 1)
    )
    (row, few) = (part.row("shared", THRESHOLD, "same mass") for part in (more, one))
    assert more.draws == 5
    assert row.draws_low < row.recovered < row.draws_high
    assert row.draws_low <= few.recovered <= row.draws_high  # the first draw is the same one
    said = more.sentence("shared", THRESHOLD)
    assert f", {row.draws_low:.0%} to {row.draws_high:.0%} over 5 draws; no feature at all " in said
    assert "draws" not in one.sentence("shared", THRESHOLD)


def test_random_subsets_keep_what_they_are_asked_to_keep() -> None:
    rng = np.random.default_rng(0)
    count, mass = rng.integers(0, 1000, 500), rng.lognormal(0, 2, 500)
    mass[count == 0] = 0
    like = (count > 0) & (np.argsort(np.argsort(-count)) < 120)  # the densest
    drawn = {name: random_subset(like, name, count, mass, rng) for name in ("same number", "same density", "same mass")}
    assert drawn["same number"].sum() == drawn["same density"].sum() == like.sum()
    assert not any(mask[count == 0].any() for mask in drawn.values())
    assert np.sort(count[drawn["same density"]]).mean() == pytest.approx(count[like].mean(), rel=0.05)
    assert count[drawn["same number"]].mean() < 0.8 * count[like].mean()
    assert mass[drawn["same mass"]].sum() == pytest.approx(mass[like].sum(), rel=0.01)
    assert (drawn["same number"] & ~like).any()


def test_bad_input_is_refused(planted: Planted) -> None:
    features, own = planted.features("own"), planted.stores["own"]
    fine = {"shared": planted.match("shared")}
    foreign = match(
        Similarity.activation(planted.stores["shared"], planted.stores["other"]).restrict(evaluation_halves(own).choose)
    )
    everywhere = match(Similarity.activation(own, planted.stores["shared"]))
    reporting = match(Similarity.activation(own, planted.stores["shared"]).restrict(evaluation_halves(own).report))
    for partners, message in (
        (foreign, "neither side of the match is this store"),
        (everywhere, "made on all tokens, not only on the half"),
        (reporting, "made on other documents than the half"),
    ):
        with pytest.raises(MismatchError, match=message):
            shared_loss(features, {"x": partners})
    for options, message in (
        ({"thresholds": (0.5, math.nan)}, "thresholds: expected different finite numbers"),
        ({"draws": 0}, "at least 1, found 0"),
    ):
        with pytest.raises(UniversalityError, match=message):
            shared_loss(features, fine, **options)
    with pytest.raises(UniversalityError, match="partners: expected at least one match"):
        shared_loss(features, {})
    with pytest.raises(MismatchError, match="both sides"):
        partner_scores(match(Similarity.activation(own, own)), own)


def test_an_sae_that_recovers_nothing_is_refused(planted: Planted, tmp_path: Path) -> None:
    useless = neuron_sae(planted.sae.b_dec, scale=1.0)
    useless = replace(useless, W_dec=-useless.W_dec)
    collect(planted.site, {tmp_path / "useless.h5": useless}, planted.blocks)
    with FeatureStore.open(tmp_path / "useless.h5") as store:
        sim = Similarity.activation(store, planted.stores["other"]).restrict(evaluation_halves(store).choose)
        features = ModelFeatures(planted.site, useless, store, planted.blocks)
        with pytest.raises(UniversalityError, match="recovers nothing of the loss of model 'A'"):
            shared_loss(features, {"x": match(sim)}, n_blocks=20)


def test_stores_without_a_reporting_half_are_refused(planted: Planted, tmp_path: Path) -> None:
    table = planted.blocks.documents
    half = replace(table, split=tuple("choose" if split == "report" else split for split in table.split))
    blocks = replace(planted.blocks, documents=half)
    collect(planted.site, {tmp_path / "half.h5": planted.sae}, blocks)
    with FeatureStore.open(tmp_path / "half.h5") as store:
        collect(planted.site, {tmp_path / "b.h5": planted.saes["other"]}, blocks)
        with FeatureStore.open(tmp_path / "b.h5") as other:
            sim = Similarity.activation(store, other).restrict(evaluation_halves(store).choose)
            found = match(sim)
        with pytest.raises(MismatchError, match="no document is of the split 'report', the half that reports"):
            shared_loss(ModelFeatures(planted.site, planted.sae, store, blocks), {"x": found})

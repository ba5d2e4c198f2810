"""Planted truth is told from chance, chance from planted truth, and silence from both."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import BLOCK, Array, Planted, Text, concepts, dense, pearson, planted, text, write_store
from scipy.stats import false_discovery_control

from universality.corpus.documents import DocumentTable
from universality.errors import DeviceWarning, MismatchError, UniversalityError
from universality.matching import match
from universality.similarity import Similarity
from universality.statistics import Calibration, calibrate, plan_repairing
from universality.statistics.held_out import Halves, equal_halves, evaluation_halves

SEEN = text(80)
QUICK = {"replicates": 8, "bootstrap": 100}


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return planted(tmp_path_factory.mktemp("plant"), SEEN, n_shared=40, n_alone=40)


@pytest.fixture(scope="module")
def found(plant: Planted) -> Calibration:
    return calibrate(plant.a, plant.b, replicates=20, bootstrap=200)


def halves(store_rows: Array, split: str) -> Array:
    return np.asarray(SEEN.documents.split)[SEEN.document] == split


def test_planted_pairs_are_recovered_and_beat_chance(plant: Planted, found: Calibration) -> None:
    frame = found.to_frame()
    shared = frame["row"].isin(plant.rows)
    assert_array_equal(frame.loc[shared, "col"], plant.cols)
    assert (frame.loc[shared, "q"] <= 0.05).all()
    assert (frame.loc[shared, "held_out"] > 0.5).all()
    assert (frame.loc[~shared, "q"] <= 0.05).mean() < 0.1
    assert (frame.loc[~shared, "calibrated"] < 0.05).all()
    assert (frame.loc[shared, "calibrated"] > 0.5).all()


def test_the_table_holds_what_it_says(plant: Planted, found: Calibration) -> None:
    frame = found.to_frame()
    names = (
        "row col score held_out ci_low ci_high p q observed calibrated detectable "
        "p_kind q_kind observed_kind calibrated_kind detectable_kind ceiling_a ceiling_b count_a count_b stratum note"
    )
    assert list(frame.columns) == names.split()
    i, j = frame["row"].to_numpy(), frame["col"].to_numpy()
    x, y = dense(plant.a), dense(plant.b)
    for column, split in (("score", "choose"), ("held_out", "report")):
        half = halves(x, split)
        assert_allclose(frame[column], pearson(x[half], y[half])[i, j], atol=1e-9)
    assert_array_equal(frame["count_a"], (x[halves(x, "choose")] > 0).sum(axis=0)[i])
    assert_array_equal(frame["count_b"], (y[halves(y, "choose")] > 0).sum(axis=0)[j])
    assert (frame["ci_low"] <= frame["held_out"]).all()
    assert (frame["held_out"] <= frame["ci_high"]).all()
    assert_allclose(frame["q"], false_discovery_control(frame["p"]))
    assert (frame["note"] == "").all()
    assert found.notes == ()


def test_null_scores_come_from_the_whole_matcher_on_re_paired_text(plant: Planted, found: Calibration) -> None:
    choose = evaluation_halves(plant.a).choose
    assert found.null_scores.shape == (20, 80)
    rows = plan_repairing(plant.a, "global", choose).draw(0, 3)
    again = match(Similarity.activation(plant.a, plant.b, rows=rows))
    assert_allclose(found.null_scores[3], again.scores, atol=1e-12)


def test_summary_puts_medians_beside_chance(plant: Planted, found: Calibration) -> None:
    s = found.summary()
    assert s.chosen_median > 0.3 > s.null.q99 > s.null.median > 0
    assert 0.45 <= s.null.share_of_tested <= 0.6
    assert 0 < s.optimism < 0.1
    assert_allclose(s.nearest_chosen_median, np.median(found.match.nearest.best_col_score))
    x, y = dense(plant.a), dense(plant.b)
    half = halves(x, "report")
    r = pearson(x[half], y[half])
    assert_allclose(s.nearest_median_cols, np.median(r[found.match.nearest.best_row, np.arange(80)]), atol=1e-9)
    assert s.null.n_tested == 80
    low, high = s.median_ci
    assert low < s.held_out_median < high
    assert high - low < 0.1
    assert s.n_groups == found.n_groups == 40


def halves_of(seen: Text, split: str) -> Array:
    return np.asarray(seen.documents.split)[seen.document] == split


def test_one_call_asks_both_nulls_and_the_first_leads(plant: Planted, found: Calibration) -> None:
    assert [chance.null for chance in found.chances] == ["global", "kind"]
    assert found.under("kind") is found.chances[1]
    alone = calibrate(plant.a, plant.b, null="kind", replicates=20, bootstrap=0)
    assert alone.under("global") is None
    for name, array in alone.chances[0].arrays().items():
        assert_array_equal(array, getattr(found.chances[1], name))
    assert_array_equal(alone.p, found.to_frame()["p_kind"])
    assert_array_equal(found.p, found.chances[0].p)


def test_what_could_have_been_told_from_chance(plant: Planted, found: Calibration) -> None:
    frame = found.to_frame()
    passed = frame["q"] <= 0.05
    # the observed scores on the null's blocks are about the scores, so what passes lies above and what fails below
    assert (frame.loc[passed, "score"] > frame.loc[passed, "detectable"]).mean() > 0.95
    assert (frame.loc[~passed, "score"] <= frame.loc[~passed, "detectable"]).mean() > 0.95
    table = found.strata()
    assert table["n"].sum() == len(frame)
    assert (table["detectable"] >= table["tau"]).all()
    assert (table["low"] < table["high"]).all()
    few = calibrate(plant.a, plant.b, replicates=1, bootstrap=0, n_strata=8, null="global")
    nothing = calibrate(plant.a, plant.b, replicates=1, bootstrap=0, alpha=1e-6, null="global")
    assert np.isfinite(few.chances[0].detectable).all()
    assert np.isposinf(nothing.chances[0].detectable).all()  # one replicate cannot give so small a p


def test_with_a_floor_chance_leaves_features_unmatched_and_they_count(plant: Planted) -> None:
    c = calibrate(plant.a, plant.b, floor=0.3, **QUICK)
    assert_array_equal(c.match.rows, plant.rows)
    assert np.isneginf(c.null_scores).all()
    assert_allclose(c.p, 1 / (1 + 8 * np.bincount(c.stratum, minlength=2)[c.stratum] * 2), rtol=0.3)
    assert_allclose(c.calibrated, c.chances[0].observed)


def test_the_smaller_side_carries_the_null(plant: Planted, tmp_path: Path) -> None:
    small = write_store(tmp_path / "s.h5", dense(plant.b)[:, plant.cols[:35]], SEEN)
    wide = calibrate(plant.a, small, **QUICK)
    assert wide.anchor == "cols"
    assert wide.null_scores.shape == (8, 35)
    assert (wide.q <= 0.05).all()
    turned = calibrate(small, plant.a, **QUICK)
    assert turned.anchor == "rows"
    one, two = wide.summary(), turned.summary()  # more than half of the 80 features of plant.a can have no partner
    assert (one.n_living, one.held_out_median, one.shares) == (35, pytest.approx(two.held_out_median), two.shares)
    assert one.held_out_median > 0.5
    assert one.share_significant("global") == two.share_significant("global") == 1
    assert_allclose(one.median_ci, two.median_ci)


def test_masked_cosine_is_calibrated_too_without_intervals(plant: Planted) -> None:
    c = calibrate(plant.a, plant.b, measure="masked_cosine", **QUICK)
    shared = np.isin(c.match.rows, plant.rows)
    assert (c.q[shared] <= 0.05).all()
    assert np.isnan(c.ci_low).all()
    assert c.notes == ("no intervals: masked_cosine keeps no statistics by group",)


def test_the_seed_decides_everything(plant: Planted) -> None:
    one, two, other = (calibrate(plant.a, plant.b, seed=s, **QUICK) for s in (1, 1, 2))
    for name in ("p", "ci_low", "null_scores"):
        assert_array_equal(getattr(one, name), getattr(two, name))
        assert (getattr(one, name) != getattr(other, name)).any()


def with_split(seen: Text, split: tuple[str, ...], group: tuple[str, ...] | None = None) -> Text:
    table = seen.documents
    return Text(DocumentTable(table.id, table.kind, group or table.group, split), seen.document, seen.position)


@pytest.mark.parametrize(
    ("only", "numbers"), [("report", "0 of split 'choose'.* 20 of split 'report'"), ("choose", "20 of .* 0 of")]
)
def test_without_two_halves_nothing_could_be_held_out(tmp_path: Path, only: str, numbers: str) -> None:
    plant = planted(tmp_path, with_split(text(20), (only,) * 20), n_shared=10, n_alone=0)
    with pytest.raises(UniversalityError, match=rf"documents in both halves .*{numbers}.*at least two documents"):
        calibrate(plant.a, plant.b, **QUICK)


def test_halves_can_be_given_and_share_no_document(tmp_path: Path) -> None:
    plant = planted(tmp_path, with_split(text(40), ("report",) * 40), n_shared=10, n_alone=10)
    divided = equal_halves(plant.a)
    assert len(plant.a.documents) == divided.choose.size + divided.report.size == 40
    found = calibrate(plant.a, plant.b, halves=divided, **QUICK)
    chosen, scored = (
        Similarity.activation(plant.a, plant.b, documents=half) for half in (divided.choose, divided.report)
    )
    assert_allclose(found.match.scores, chosen.pairs(found.match.rows, found.match.cols))
    assert_allclose(found.held_out, scored.pairs(found.match.rows, found.match.cols))
    shared = np.isin(found.match.rows, plant.rows)
    assert (found.q[shared] <= 0.05).all()
    assert (found.q[~shared] > 0.05).mean() > 0.8
    with pytest.raises(UniversalityError, match=r"without a common one, found 40 in both \(document 0 first"):
        calibrate(plant.a, plant.b, halves=Halves(np.arange(40), np.arange(40)))
    with pytest.raises(UniversalityError, match="halves are of documents; logit weights are compared"):
        calibrate(plant.a, plant.b, "logit", halves=divided)


def test_one_group_has_no_null_and_no_interval_and_says_so(tmp_path: Path) -> None:
    seen = text(2, blocks=30, kinds=("x",))
    one = with_split(seen, ("choose", "report"))
    plant = planted(tmp_path, one, n_shared=10, n_alone=0)
    c = calibrate(plant.a, plant.b, **QUICK)
    for found in c.chances:
        for unknown in (found.p, found.q, found.tau, found.calibrated, found.detectable):
            assert_array_equal(unknown, np.nan)
    assert_array_equal(c.ci_low, np.nan)
    assert np.isfinite(c.held_out).all()
    assert c.notes[0] == "the reporting half holds 1 group of documents: no intervals, which need 4"
    assert c.notes[1].startswith("no p-values: ")
    assert "found 1 groups, 30 blocks" in c.notes[1]
    assert set(c.to_frame()["note"]) == {"no interval: too few groups"}
    none = calibrate(plant.a, plant.b, **{**QUICK, "bootstrap": 0})
    assert set(none.to_frame()["note"]) == {"no interval: bootstrap is 0, so none was requested"}


def test_few_groups_and_few_full_blocks_are_remarked_on(tmp_path: Path) -> None:
    table = DocumentTable(
        id=tuple(f"d{k}" for k in range(8)), kind=("x",) * 8, group=tuple(f"d{k}" for k in range(8)),
        split=("choose", "report") * 4,
    )  # fmt: skip
    lengths = np.where(np.arange(64) % 8 == 0, BLOCK, BLOCK // 2)
    position = np.concatenate([np.arange(1, n + 1) for n in lengths])
    seen = Text(table, np.repeat(np.repeat(np.arange(8), 8), lengths), position)
    plant = planted(tmp_path, seen, n_shared=6, n_alone=0)
    c = calibrate(plant.a, plant.b, **QUICK)
    assert c.notes[0] == "the reporting half holds 4 groups of documents: intervals are rough below 8"
    assert c.notes[1].startswith("only 22% of the tokens lie in blocks of 32")
    assert calibrate(plant.a, plant.b, block_length=BLOCK // 2, **QUICK).notes == c.notes[:1]


def test_a_feature_with_two_firings_gets_nan_and_a_reason(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seen = text(40)
    x = concepts(seen.n_tokens, np.full(12, 0.1), rng)
    x[:, 0] = 0
    for split in ("choose", "report"):
        x[rng.choice(np.flatnonzero(halves_of(seen, split)), 2, replace=False), 0] = 1
    x[:, 1] = 0
    a = write_store(tmp_path / "a.h5", x, seen)
    b = write_store(tmp_path / "b.h5", x, seen)
    c = calibrate(a, b, **QUICK)
    assert_array_equal(np.flatnonzero(c.match.dead_rows), [1])
    frame = c.to_frame().set_index("row")
    rare = frame.loc[0]
    assert rare["col"] == 0
    assert rare["count_a"] == 2
    assert rare["stratum"] == -1
    assert np.isnan(rare[["held_out", "ci_low", "p", "q", "calibrated"]].astype(float)).all()
    assert rare["note"] == (
        "fires fewer than 10 times on the blocks of the global and kind nulls: no p-value; no held-out score"
    )
    assert frame.drop(index=0, columns=["ceiling_a", "ceiling_b"]).notna().all(axis=None)
    assert c.notes == tuple(
        f"1 pair with a feature that fires fewer than 10 times on the blocks of the {null} null: no p-value under it"
        for null in ("global", "kind")
    )


def test_nothing_alive_is_nothing_not_an_error(tmp_path: Path) -> None:
    seen = text(8)
    a = write_store(tmp_path / "a.h5", np.zeros((seen.n_tokens, 3)), seen)
    c = calibrate(a, a, **QUICK)
    assert len(c.to_frame()) == 0
    assert np.isnan(c.summary().chosen_median)


def test_no_replicates_no_p(plant: Planted) -> None:
    c = calibrate(plant.a, plant.b, replicates=0, bootstrap=0)
    assert_array_equal(c.p, np.nan)
    assert_array_equal(c.calibrated, np.nan)
    assert np.isfinite(c.held_out).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"measure": "decoder"},
            "measure 'decoder' is not one of activation, cosine, .*, logit; the other measures of weights",
        ),
        ({"replicates": -1}, "replicates must be at least 0, found -1"),
        ({"n_strata": 0}, "n_strata must be at least 1, found 0"),
        ({"min_firings": 0}, "min_firings must be at least 1, found 0"),
        ({"min_firings": 2.5}, "min_firings must be a whole number, found 2.5"),
        ({"replicates": True}, "replicates must be a whole number, found True"),
        ({"seed": -1}, "seed must be at least 0, found -1"),
        ({"block_length": 0}, "block_length must be at least 1, found 0"),
        ({"alpha": 1.0}, "alpha must be more than 0 and less than 1, found 1.0"),
        ({"null": "token"}, "nulls must be global or kind, found 'token'"),
        ({"null": ()}, r"nulls must hold at least 1, found \[\]"),
        ({"null": ("kind", "kind")}, "expected each null once, found kind, kind"),
        ({"method": "greedy"}, "unknown method 'greedy'"),
    ],
)
def test_wrong_calls_are_refused(plant: Planted, options: dict, message: str) -> None:
    with pytest.raises(UniversalityError, match=message):
        calibrate(plant.a, plant.b, **options)


def test_where_no_pair_can_be_tested_the_classes_are_numbers_still(plant: Planted) -> None:
    strata = calibrate(plant.a, plant.b, replicates=1, bootstrap=0, min_firings=10**8).strata()
    assert strata.empty
    assert set(strata.dtypes) == {np.dtype(np.float64)}


def test_few_null_scores_that_let_no_pair_be_significant_are_remarked_on(tmp_path: Path) -> None:
    """Eight features and one replicate: p is at least 1 / 9."""
    few = planted(tmp_path, SEEN, n_shared=4, n_alone=4)
    too_few = calibrate(few.a, few.b, replicates=1, bootstrap=0, null="global")
    least = "no pair can reach q <= 0.05 under the global null: with its few scores p is at least 0.11"
    assert any(least in note for note in too_few.notes)
    assert not np.any(too_few.q <= 0.05)
    enough = calibrate(few.a, few.b, replicates=8, bootstrap=0, null="global")
    assert not any("no pair can reach" in note for note in enough.notes)
    assert np.any(enough.q <= 0.05)


def test_intervals_of_few_resamples_are_remarked_on(plant: Planted) -> None:
    notes = calibrate(plant.a, plant.b, replicates=0, bootstrap=3).notes
    assert "intervals rest on 3 resamples: below 20 a 95% bound is their largest" in notes


@pytest.mark.usefixtures("torch_for_card")
def test_a_card_cannot_take_every_measure_and_no_executor(plant: Planted) -> None:
    quick = {"replicates": 2, "bootstrap": 0, "null": "global", "device": "cuda"}
    with pytest.raises(UniversalityError, match="give a device or an executor"):
        calibrate(plant.a, plant.b, executor=ThreadPoolExecutor(1), **quick)
    with pytest.warns(DeviceWarning, match="masked_cosine similarity is computed on the CPU, and not on cpu"):
        found = calibrate(plant.a, plant.b, measure="masked_cosine", **quick)
    assert "device" not in found.match.provenance
    assert "device" not in found.settings


def test_stores_of_other_tokens_are_refused(plant: Planted, tmp_path: Path) -> None:
    other = text(6)
    with pytest.raises(MismatchError, match="both stores must see the same tokens"):
        calibrate(plant.a, write_store(tmp_path / "b.h5", np.ones((other.n_tokens, 2)), other))


def test_features_of_text_without_full_blocks_have_no_p_and_a_reason(tmp_path: Path) -> None:
    seen = text(40, blocks=1)
    rng = np.random.default_rng(0)
    x = concepts(seen.n_tokens, np.full(10, 0.1), rng)
    full = np.repeat(np.tile([True, False], 40), np.tile([BLOCK, BLOCK // 2], 40))
    x[:, 4] = concepts(seen.n_tokens, [0.3], rng)[:, 0] * ~full
    a = write_store(tmp_path / "a.h5", x, seen)
    frame = calibrate(a, a, **QUICK).to_frame().set_index("row")
    assert frame.loc[4, "count_a"] >= 10  # on the half, but not on the null's blocks
    assert frame.loc[4, "note"] == "fires fewer than 10 times on the blocks of the global and kind nulls: no p-value"
    assert np.isnan(frame.loc[4, ["p", "q", "observed", "calibrated", "detectable"]].astype(float)).all()
    assert frame.loc[4, "held_out"] > 0.99
    assert frame.drop(index=4)["p"].notna().all()

"""Explanations on planted partners: kept where B's feature is the same, lost where it is another."""

import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from tests.labels.planted import Oracle, decode
from tests.labels.planted_pairs import OTHERS, WORDS, Blur, Reader, write_model
from universality import Similarity, calibrate
from universality.errors import FormatError, MismatchError, UniversalityError
from universality.features import FeatureStore
from universality.labels import (
    Labels,
    LabelSettings,
    LabelTransfer,
    SecondSeed,
    TransferSettings,
    label,
    measure_transfer,
)
from universality.statistics import Calibration, EffectAgreement, evaluation_halves

N = len(WORDS)
SETTINGS = LabelSettings(scores=("detection",), floors=False, logit_tokens=0, draws=0)
LIKE = [Blur(jitter=x, elsewhere=x / 5) for x in np.linspace(0.2, 1.2, N)]
STRANGE = [Blur(elsewhere=x) for x in np.linspace(0.1, 1.2, N)]


class World(NamedTuple):
    """Model A with a second SAE seed that is blurred in strength above all, and its labels."""

    a: FeatureStore
    second: SecondSeed
    labels: Labels


def matched(a: FeatureStore, b: FeatureStore) -> Calibration:
    return calibrate(a, b, replicates=1, bootstrap=0)


def paired(a: FeatureStore, b: FeatureStore) -> Calibration:
    """Pair feature j with feature j, whatever their r."""
    found, j = matched(a, b), np.arange(N)
    r = Similarity.activation(a, b, documents=evaluation_halves(a).report).pairs(j, j)
    return replace(found, match=replace(found.match, rows=j, cols=j, scores=r), held_out=r)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pairs")


@pytest.fixture(scope="module")
def world(folder: Path) -> World:
    a = write_model(folder / "a.h5", WORDS, [Blur()] * N)
    second = write_model(folder / "a2.h5", WORDS[::-1], LIKE[::-1], seed=1)
    labels = label(a, decode, explainer=Reader(), scorer=Oracle(), settings=SETTINGS)
    return World(a, SecondSeed(second, matched(a, second)), labels)


def transfer(world: World, b: FeatureStore, calibration: Calibration | None = None, **options: object) -> LabelTransfer:
    calibration = matched(world.a, b) if calibration is None else calibration
    settings = TransferSettings(draws=300)
    return measure_transfer(
        world.labels, world.a, b, calibration, decode, scorer=Oracle(), second_a=world.second,
        **({"settings": settings} | options),
    )  # fmt: skip


@pytest.fixture(scope="module")
def same(world: World, folder: Path) -> LabelTransfer:
    """B has A's concepts, blurred as the second seed is."""
    rng = np.random.default_rng(0).permutation(N)
    return transfer(world, write_model(folder / "b.h5", [WORDS[i] for i in rng], [LIKE[i] for i in rng], seed=2))


@pytest.fixture(scope="module")
def strange(world: World, folder: Path) -> LabelTransfer:
    """B's features fire elsewhere more than A's second seed does, which is as unlike A by r."""
    return transfer(world, write_model(folder / "c.h5", WORDS, STRANGE, seed=3))


def losses(found: LabelTransfer) -> dict[str, float]:
    return found.summary().set_index("pairing")["loss"].to_dict()


def test_the_same_concepts_keep_the_score(same: LabelTransfer) -> None:
    table = same.summary().set_index("pairing")
    assert table.loc["partner", "n"] == N
    assert table.loc["partner", "own"] > 0.95
    assert 0 < table.loc["partner", "loss"] < 0.15
    assert table.loc["partner", "loss"] == pytest.approx(table.loc["second seed of A", "loss"], abs=0.03)
    for control in ("non-partner", "equal density"):
        assert table.loc[control, "score"] == pytest.approx(0.5, abs=0.07)
        assert table.loc[control, "low"] > 0.3


def test_partners_keep_their_advantage_over_random_features(same: LabelTransfer, strange: LabelTransfer) -> None:
    (kept,), (lost,) = (found.over_equal_density().itertuples() for found in (same, strange))
    assert kept.own == pytest.approx(0.5, abs=0.07)
    assert kept.partner_low > 0.75 * kept.own
    assert lost.own == pytest.approx(kept.own, abs=0.05)
    assert 0 < lost.partner_low < lost.partner_high < kept.partner_low
    chance = same.to_frame().query("pairing == 'equal density'").set_index("feature")["score"]
    partner = same.to_frame().query("pairing == 'partner'").set_index("feature")["score"]
    both = partner.index.intersection(chance.index)
    assert kept.n == len(both)
    assert kept.partner == pytest.approx((partner[both] - chance[both]).mean())


def test_no_deficit_is_found_where_none_is_planted(same: LabelTransfer) -> None:
    table = same.given_r().set_index("against")
    found = table.loc["second seeds"]
    assert found.low < 0 < found.high
    assert abs(found.difference) < 0.03
    assert found.n_partners + found.n_outside == N
    assert found.n_partners > N // 2
    # non-partners lie at r near 0, where no partner does: nothing is compared, rather than extrapolated
    assert table.loc["non-partners", "n_partners"] == 0
    assert math.isnan(table.loc["non-partners", "difference"])


def test_a_planted_deficit_is_found(strange: LabelTransfer) -> None:
    found = strange.given_r().set_index("against").loc["second seeds"]
    assert found.low > 0.03
    assert found.n_partners > N // 2
    r = strange.to_frame().query("pairing == 'partner'")["r"]
    assert 0.4 < r.median() < 0.95


def test_other_concepts_fall_to_the_floor(world: World, folder: Path) -> None:
    others = (OTHERS * 2)[: N - 8] + WORDS[-1:] * 8  # 48 English words that A does not have
    b = write_model(folder / "d.h5", others, [Blur(jitter=0.5, elsewhere=0.3)] * N, seed=4)
    found = losses(transfer(world, b, settings=TransferSettings(non_partners=0)))
    assert found["partner"] > 0.35
    assert found["partner"] == pytest.approx(found["equal density"], abs=0.1)


def test_examples_are_of_the_feature_that_is_scored(same: LabelTransfer, world: World) -> None:
    frame = same.to_frame()
    partners = frame[frame["pairing"] == "partner"].set_index("feature")
    for feature, one in world.labels.labels.items():
        own = one.score("detection")
        assert own is not None
        assert partners.loc[feature, "own"] == own.value
        assert partners.loc[feature, "loss"] == own.value - partners.loc[feature, "score"]
    assert (frame.loc[frame["pairing"] != "partner", "n"] > 0).all()
    assert set(frame.query("pairing == 'partner'")["scored"]) == set(range(N))


def test_controls_are_no_partners_of_the_same_kind(same: LabelTransfer) -> None:
    frame = same.to_frame()
    partner = frame[frame["pairing"] == "partner"].set_index("feature")["scored"]
    hebrew = set(partner[list(range(N - 8, N))])
    for pairing in ("non-partner", "equal density"):
        control = frame[frame["pairing"] == pairing]
        assert (control["scored"] != partner[control["feature"]].to_numpy()).all()
        assert ((control["feature"] >= N - 8) == control["scored"].isin(hebrew)).all()
    assert frame.query("pairing == 'non-partner'")["scored"].is_unique
    assert frame["r"].notna().all()


def test_non_partners_reach_as_high_in_r_as_there_are_any(world: World, folder: Path) -> None:
    """Beside each partner, B has a feature of two words: as alike by r as blurred partners, half of it strange."""
    both = [f"{one}|{other}" for one, other in zip(WORDS[: N - 8 : 2], WORDS[1 : N - 8 : 2], strict=True)]
    blurred = [Blur(jitter=x, elsewhere=x / 5) for x in np.linspace(0.6, 1.2, N)]
    mixed = [Blur(jitter=x) for x in np.linspace(0, 0.8, len(both))]
    b = write_model(folder / "f.h5", [*WORDS, *both], [*blurred, *mixed], seed=7)
    found = transfer(world, b, paired(world.a, b), settings=TransferSettings(draws=300, non_partners=2))
    frame = found.to_frame()
    others = frame[frame["pairing"] == "non-partner"]
    alike = others[others["scored"] >= N]
    assert len(alike) == len(both)  # each is used once, though it is as near to two features of A
    assert (alike["r"] > 0.35).all()
    assert alike["scored"].is_unique
    table = found.given_r().set_index("against")
    assert table.loc["non-partners", "n_partners"] >= 20
    assert table.loc["non-partners", "high"] < 0  # partners keep more at equal r
    assert abs(table.loc["second seeds", "difference"]) < 0.03


def test_the_interval_of_one_seed_is_that_of_another(world: World, folder: Path, same: LabelTransfer) -> None:
    assert repr(replace(same).given_r()) == repr(same.given_r())
    other = replace(same, settings=same.settings | {"seed": 1}).given_r().set_index("against").loc["second seeds"]
    found = same.given_r().set_index("against").loc["second seeds"]
    assert other.difference == found.difference
    assert other.low != found.low


@pytest.fixture(scope="module")
def labelled(world: World, folder: Path) -> tuple[FeatureStore, Labels]:
    """B's features and labels: half are A's concepts; the other English ones are other words."""
    words = [word if i % 2 or i >= N - 8 else OTHERS[i // 2 % len(OTHERS)] for i, word in enumerate(WORDS)]
    b = write_model(folder / "e.h5", words, [Blur(jitter=0.3)] * N, seed=5)
    return b, label(b, decode, explainer=Reader(), scorer=Oracle(), settings=SETTINGS)


def judged(world: World, b: FeatureStore, labels_b: Labels, scorer: Oracle) -> LabelTransfer:
    settings = TransferSettings(non_partners=0, equal_density=False)
    return measure_transfer(
        world.labels, world.a, b, paired(world.a, b), decode, scorer=scorer, labels_b=labels_b, settings=settings,
        second_b=SecondSeed(world.second.store, paired(b, world.second.store)),
    )  # fmt: skip


def test_same_explanations_are_told_from_random_pairs(world: World, labelled: tuple[FeatureStore, Labels]) -> None:
    found = judged(world, *labelled, Oracle())
    rates = found.same_explanation().set_index("pairs")
    n_same = sum(i % 2 or i >= N - 8 for i in range(N))
    assert rates.loc["partners", "rate"] == n_same / N
    assert rates.loc["random pairs", "rate"] < 0.05
    assert rates.loc["random pairs", "n"] == rates.loc["partners", "n"] == N
    assert rates.loc["difference", "low"] > 0.4
    assert rates.loc["difference", "rate"] == pytest.approx(
        rates.loc["partners", "rate"] - rates.loc["random pairs", "rate"]
    )
    frame = found.to_frame()
    of_b = frame[frame["pairing"] == "second seed of B"]
    assert len(of_b) == N
    assert (of_b["explained"] == of_b["feature"]).all()  # the partner of j is j here
    assert frame.query("pairing == 'partner'")["others_own"].median() > 0.9


def test_a_judge_that_always_says_yes_finds_nothing(world: World, labelled: tuple[FeatureStore, Labels]) -> None:
    biased = Oracle(edit=lambda kind, text: "Yes." if kind == "same" else text)
    rates = judged(world, *labelled, biased).same_explanation().set_index("pairs")
    assert rates.loc["partners", "rate"] == rates.loc["random pairs", "rate"] == 1
    assert rates.loc["difference", "low"] <= rates.loc["difference", "rate"] == 0 <= rates.loc["difference", "high"]


def test_the_judge_sees_neither_features_nor_pairs(world: World, labelled: tuple[FeatureStore, Labels]) -> None:
    judge = Oracle()
    judged(world, *labelled, judge)
    shown = [p.messages[-1].content for p in judge.asked if "descriptions are of the same" in p.messages[0].content]
    assert len(shown) == 2 * N
    assert all(text.startswith("First: the token") and text.count("\n") == 1 for text in shown)
    of_a = {one.explanation for one in world.labels.labels.values()}
    of_b_only = {one.explanation for one in labelled[1].labels.values()} - of_a
    first = [text.partition("\n")[0].removeprefix("First: ") in of_b_only for text in shown]
    assert 0.15 < np.mean(first) < 0.45  # half of them are B's own words, and come first half of the time


def test_a_missing_judgement_is_no_judgement(world: World, labelled: tuple[FeatureStore, Labels]) -> None:
    vague = Oracle(edit=lambda kind, text: "Perhaps" if kind == "same" else text)
    rates = judged(world, *labelled, vague).same_explanation().set_index("pairs")
    assert rates.loc["partners", "missing"] == N
    assert math.isnan(rates.loc["partners", "rate"])


def test_what_does_not_belong_together_is_refused(world: World, labelled: tuple[FeatureStore, Labels]) -> None:
    b, labels_b = labelled
    calibration = matched(world.a, b)
    with pytest.raises(MismatchError, match=r"labels of another store than .*e.h5"):
        measure_transfer(world.labels, b, world.a, calibration, decode, scorer=Oracle())
    with pytest.raises(MismatchError, match=r"scored by 'oracle' with settings .* but the scorer here is 'another'"):
        measure_transfer(world.labels, world.a, b, calibration, decode, scorer=Oracle("another"))
    with pytest.raises(MismatchError, match=r"calibration: a matching of another store than .*e.h5 as its b"):
        measure_transfer(world.labels, world.a, b, world.second.calibration, decode, scorer=Oracle())
    other = Labels({**labels_b.header, "settings": LabelSettings(seed=1).as_dict()}, labels_b.labels)
    with pytest.raises(MismatchError, match="with different settings; label both with the same"):
        measure_transfer(world.labels, world.a, b, calibration, decode, scorer=Oracle(), labels_b=other)
    nothing = Labels(world.labels.header, {})
    with pytest.raises(UniversalityError, match="none of the 0 labelled features has an explanation and a partner"):
        measure_transfer(nothing, world.a, b, calibration, decode, scorer=Oracle())
    short = Oracle("small", context=100)
    by_short = Labels({**world.labels.header, "scorer": {"name": "small", "settings": {}}}, world.labels.labels)
    with pytest.raises(UniversalityError, match="small: scoring up to 10 examples"):
        measure_transfer(by_short, world.a, b, calibration, decode, scorer=short)
    assert short.asked == []


def test_files_keep_everything(
    same: LabelTransfer, world: World, labelled: tuple[FeatureStore, Labels], tmp_path: Path
) -> None:
    for found in (same, judged(world, *labelled, Oracle())):
        for name in ("t.npz", "t.json"):
            again = LabelTransfer.load(found.save(tmp_path / name))
            pd.testing.assert_frame_equal(again.scores, found.scores)
            assert again.judgements.to_dict("list") == found.judgements.to_dict("list")
            assert (again.settings, again.provenance) == (found.settings, found.provenance)
            assert repr(again.given_r()) == repr(found.given_r())
    with pytest.raises(FormatError, match=r"not a universality.label_transfer file"):
        LabelTransfer.load(world.second.calibration.save(tmp_path / "c.npz"))


def test_card_and_tables(same: LabelTransfer, strange: LabelTransfer) -> None:
    html = same._repr_html_()
    assert "loss on second seed of A" in html
    assert "loss at equal r against second seeds" in html
    assert "judged the same" not in html
    assert same.same_explanation()["rate"].isna().all()  # B is not labelled
    assert "LabelTransfer: explanations of 56 features" in repr(same)
    bins = strange.by_r()
    assert set(bins["pairs"]) == {"partner", "second seeds", "non-partners"}
    assert bins.groupby("pairs")["n"].sum()["partner"] == N
    partner = bins[bins["pairs"] == "partner"]
    assert partner["loss"].iloc[0] > partner["loss"].iloc[-1]
    assert strange.by_r("detection", width=1.0).query("pairs == 'partner' and r_low == 0")["n"].tolist() == [N]


def test_effects_stand_beside_the_loss(world: World, folder: Path, strange: LabelTransfer) -> None:
    """Effects that agree where r is high say nothing given r; effects that follow the loss do."""
    frame = strange.to_frame().query("pairing == 'partner'")
    rng = np.random.default_rng(0)
    with FeatureStore.open(folder / "c.h5") as b:
        for effect, known in ((frame["r"] + rng.normal(0, 0.02, N), False), (-frame["loss"], True)):
            pairs = pd.DataFrame({"row": frame["explained"], "col": frame["scored"], "r_per_norm": effect})
            found = transfer(world, b, effects=EffectAgreement(pairs, {}, {})).with_effects().set_index("given")
            plain, given = found.loc["nothing"], found.loc["r and own score"]
            assert plain.n == given.n == N
            assert plain.high < 0
            assert (given.high < -0.9) if known else (given.low < 0 < given.high)
        other = pd.DataFrame({"row": [0], "col": [N - 1], "r_per_norm": [0.5]})
        with pytest.raises(MismatchError, match=r"effects: 1 of their pairs, .* are not pairs of the calibration"):
            transfer(world, b, effects=EffectAgreement(other, {}, {}))
    assert strange.with_effects()["correlation"].isna().all()

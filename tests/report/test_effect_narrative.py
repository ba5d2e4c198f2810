"""The sentences on effects follow from the numbers, whichever way they fall."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.report.planted_effects import SEED, agreement, carried, exact
from universality.report import CarriedLoss, EffectRow, Effects, FirstOrderAccuracy
from universality.report.data.effects import threshold_of_sentence
from universality.report.effect_caveats import effect_cautions
from universality.report.effect_narrative import agreement as said
from universality.report.effect_narrative import carried as carried_said
from universality.report.effect_narrative import lead, verdict

PLACE = np.arange(23)


def row(role: Any = "features", label: str = "SAE features", **changes: Any) -> EffectRow:
    made = EffectRow.of(role, label, agreement(PLACE, PLACE))
    return replace(made, summary=replace(made.summary, **changes))


def effects(*rows: EffectRow, slope: float = 1.04, shared: float = 0.76, **more: Any) -> Effects:
    whole = exact(slope).accuracy()
    accuracy = FirstOrderAccuracy("A", "all firings", whole.n, whole.spearman, whole.slope, whole.sign)
    carries = CarriedLoss(carried(shared), "B", SEED, 0.7)
    return Effects(rows or (row(),), (accuracy,), (carries,), 4321, **more)


def test_shares_count_all_pairs_and_the_median_the_compared_ones() -> None:
    made = row()
    assert made.shares == (10 / 23, 0.0)  # ten pairs have 0.6, ten 0.3, three were not compared
    assert made.summary.n_compared == 20
    assert made.summary.r_per_norm == pytest.approx(0.45)
    assert (made.low, made.high) == (0.3, 0.6)


@pytest.mark.parametrize(
    ("changes", "shares", "expected"),
    [
        ({}, (0.5, 0), "largely yes"),
        ({}, (0.49, 0), "in part"),
        ({}, (0.19, 0), "mostly not"),
        ({"control_r": 0.45}, (0.5, 0), "no"),
        ({"null_r": 0.5}, (0.5, 0), "no"),
        ({"n_compared": 11}, (0.3, 0), "too few pairs to tell"),
        ({"n_compared": 11}, (0.5, 0), "largely yes"),
        ({"n_compared": 0}, (0, 0), "too few pairs to tell"),
    ],
)
def test_the_verdict_by_effect_stands_beside_that_by_activation(changes: Any, shares: Any, expected: str) -> None:
    made = replace(row(**changes), shares=shares)
    assert verdict("Largely yes", effects(made)) == f"Largely yes by activation; {expected} by effect"
    assert verdict("Largely yes", None) == verdict("Largely yes", Effects()) == "Largely yes"


def test_agreement_is_said_with_all_that_it_is_compared_with() -> None:
    found = effects(
        row(), row("neurons", "neurons", r_per_norm=0.09), row("ceiling", "two seeds of A", r_per_norm=0.81)
    )
    text = said(found)
    for part in (
        "have a median r of 0.45 (20 of 23 pairs compared; 95% interval over documents 0.41 to 0.48 and over pairs "
        "0.30 to 0.60)",
        "43% of all pairs reach 0.5",
        "unrelated effects of features that fire as these do give 0.02",
        "other features that fire most like the partner 0.05, two seeds of A 0.81 and neurons 0.09.",
        "Of the 20 pairs with a p-value, 50% agree beyond chance at q ≤ 0.05 and 0% are opposed beyond chance.",
        "rank correlation 1.00 and slope 1.04 for A (100 firings)",
    ):
        assert part in text
    assert "; 5 compared pairs have no p" in said(effects(row(n_tested=15)))
    assert "No pair has a p-value." in said(effects(row(n_tested=0)))
    assert "No pair of features fires together" in said(effects(row(n_compared=0)))
    assert "their accuracy is not known" in said(replace(effects(), accuracy=()))
    assert said(None) == said(Effects()) == lead(None) == lead(Effects()) == ""


@pytest.mark.parametrize(
    ("shared", "expected", "points"),
    [
        (0.76, "carry more than their mass predicts", "+16 points, 95% interval +14 to +18"),
        (0.61, "carry what their mass predicts, and no more", "+1 points, 95% interval −1 to +3"),
        (0.60, "carry what their mass predicts, and no more", "0 points, 95% interval −2 to +2"),
        (0.50, "carry less than their mass predicts", "−10 points, 95% interval −12 to −8"),
    ],
)
def test_the_lead_says_whether_shared_features_carry_more_than_their_mass(
    shared: float, expected: str, points: str
) -> None:
    found = effects(shared=shared)
    assert lead(found) == carried_said(found.carried[0])
    assert lead(found).startswith(
        "Of the loss that A's SAE of 15 features recovers (against mean ablation), features with a partner in B at "
        "r ≥ 0.7 alone recover "
    )
    assert "; random subsets of equal mass 60% (57% to 63%), 59% to 61% over 2 draws; two SAE seeds" in lead(found)
    assert f"So the shared features of A {expected} (shared minus random: {points})." in lead(found)
    warned = any(
        "do not carry more of the loss than random features" in line for line in map(str, effect_cautions(found))
    )
    assert warned == (shared < 0.7)


def on_other_text(low: float, high: float, **of_all: Any) -> CarriedLoss:
    """Return A's carried loss with the same interval of every share."""
    loss = carried()
    rows = tuple(replace(r, recovered_low=low, recovered_high=high, **of_all) for r in loss.rows)
    return CarriedLoss(replace(loss, rows=rows), "B", SEED, 0.7)


@pytest.mark.parametrize(("low", "high"), [(np.nan, np.nan), (0.4, 0.91), (-2.58, 3.36)])
def test_too_little_text_gives_no_lead_and_no_claim(low: float, high: float) -> None:
    found = on_other_text(low, high)
    assert not found.enough_text
    assert lead(Effects(carried=(found,))) == ""
    assert "So the shared features" not in carried_said(found)
    assert "This text is too short for these shares" in carried_said(found)
    (line,) = effect_cautions(Effects(carried=(found,)))
    assert "measured on too little text to say (3,840 tokens of 40 groups of documents)" in str(line)
    assert on_other_text(0.4, 0.9).enough_text


def test_a_claim_holds_for_every_random_draw_and_needs_an_interval() -> None:
    def said_of(**of_all: float) -> str:
        return carried_said(on_other_text(0.6, 0.7, **of_all))

    more, equal = "carry more than their mass predicts", "carry what their mass predicts, and no more"
    assert more in said_of(draws_high=0.75)
    assert equal in said_of(draws_high=0.77)  # 0.76 are recovered: features of one draw recover as much
    assert equal in said_of(over_random_low=np.nan, over_random_high=np.nan)
    less = {"over_random_low": -0.3, "over_random_high": -0.1}
    assert "carry less than their mass predicts" in said_of(draws_low=0.77, **less)
    assert equal in said_of(draws_low=0.75, **less)


def sharing(at: tuple[float, ...]) -> CarriedLoss:
    """Return A's carried loss with shared features at some of the thresholds alone."""
    loss = carried()
    rows = tuple(
        replace(r, n_features=0, over_random=np.nan) if r.partners == "B" and r.threshold not in at else r
        for r in loss.rows
    )
    loss = replace(loss, rows=rows)
    return CarriedLoss(loss, "B", None, threshold_of_sentence(loss, "B"))


def test_a_threshold_that_no_feature_reaches_does_not_lead() -> None:
    found = sharing((0.5,))
    assert found.threshold == 0.5
    leading = lead(Effects(carried=(found,)))
    assert leading == carried_said(found)
    assert leading.startswith("Of the loss that A's SAE of 15 features recovers")
    assert "features with a partner in B at r ≥ 0.5 alone recover 76%" in leading
    assert " No feature of A has a partner in B at r ≥ 0.7. So the shared features of A carry more" in leading
    assert sharing((0.5, 0.7)).threshold == 0.7


def test_where_nothing_is_shared_the_matching_leads_and_the_section_says_so() -> None:
    found = sharing(())
    assert found.threshold == 0.5
    assert lead(Effects(carried=(found,))) == ""
    assert carried_said(found) == (
        "No feature of A has a partner in B at r ≥ 0.5. No lower r was measured, so there are no shared features whose "
        "loss could be stated."
    )
    assert effect_cautions(Effects(carried=(found,))) == []


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (effects(row(control_r=0.44)), "agree as well as the partner's (median r 0.44 against 0.45)"),
        (effects(row(overlap=0.05)), "hardly fire on the same tokens (median overlap 5%"),
        (effects(slope=2.5), "far from exact ones: A (rank correlation 1.00, slope 2.50)"),
        (effects(slope=0.4), "far from exact ones: A (rank correlation 1.00, slope 0.40)"),
        (effects(slope=-1), "far from exact ones: A (rank correlation −1.00, slope −1.00)"),
        (effects(row(n_tested=11)), "Only 11 of 23 pairs have a p-value"),
        (effects(unmeasured=("Not measured: x, since y",)), "Not measured: x, since y"),
    ],
)
def test_each_weakness_is_one_warning(found: Effects, expected: str) -> None:
    (line,) = effect_cautions(found)
    assert expected in str(line)


def test_good_numbers_have_no_warning() -> None:
    assert effect_cautions(effects()) == effect_cautions(None) == []

"""The answer on transfer of explanations follows from the numbers, whichever way they fall."""

from dataclasses import replace

import pytest

from universality.report import transfer_narrative as told
from universality.report.data import (
    EffectLossRow,
    GivenRRow,
    OverChanceRow,
    ReportTransfer,
    SameRow,
    SpecificityRow,
    SplitRow,
    SplitTable,
    TransferRow,
)
from universality.report.split_narrative import split_answer

NAN = float("nan")
PARTNER = TransferRow("detection", "partner", 200, 0.7, 0.8, 0.76, 0.04, 0.03, 0.05)
CHANCE = OverChanceRow("detection", 200, 0.3, 0.28, 0.32, 0.26, 0.24, 0.28)
GIVEN = GivenRRow("detection", "second seeds", 180, 20, 300, 0.04, 0.03, 0.01, -0.01, 0.03)
FOUND = ReportTransfer(
    "A", "gpt", "judge", 0.95, "detection",
    (PARTNER, replace(PARTNER, pairing="equal density", score=0.5, loss=0.3, low=0.28, high=0.32)),
    (CHANCE,), (GIVEN, replace(GIVEN, against="non-partners", n_partners=0)),
)  # fmt: skip


@pytest.mark.parametrize(
    ("partner", "chance", "answer"),
    [
        ({}, {}, "Largely yes: on partners in gpt, explanations of A's features keep 87% of their advantage"),
        ({}, {"partner": 0.15, "partner_low": 0.1}, "In part: on partners in gpt, explanations of A's features keep 5"),
        ({"low": -0.01}, {}, "Yes: explanations of A's features predict their partners in gpt as well, as far as 200"),
        ({}, {"partner_low": -0.01}, "Not shown: explanations of A's features predict partners in gpt no better"),
        ({"low": -0.01}, {"own_low": -0.01}, "No answer: explanations of A's features predict these no better than"),
        ({"low": NAN}, {}, "No answer: explanations of A's features were scored on too few partners in gpt"),
    ],
)  # fmt: skip
def test_the_verdict(partner: dict[str, float], chance: dict[str, float], answer: str) -> None:
    found = replace(FOUND, pairings=(replace(PARTNER, **partner),), over_chance=(replace(CHANCE, **chance),))
    assert told.verdict(found).startswith(answer)


def test_without_chance_no_share_is_named() -> None:
    text = told.verdict(replace(FOUND, over_chance=()))
    assert text == "Explanations of A's features predict their partners in gpt less well; chance was not measured"


@pytest.mark.parametrize(
    ("bounds", "reading"),
    [
        ((-0.01, 0.03), "no loss is left that r does not account for"),
        ((0.005, 0.015), "r does not account for the whole loss"),
        ((-0.03, -0.01), "they lose less than r accounts for"),
        ((NAN, NAN), "too few features for an interval"),
    ],
)
def test_what_is_left_given_r(bounds: tuple[float, float], reading: str) -> None:
    low, high = bounds
    text = told.given_r(replace(FOUND, given_r=(replace(GIVEN, low=low, high=high),)))
    assert "Beside second SAE seeds, partners lose 0.010 more" in text
    assert reading in text
    assert "other features" not in told.given_r(FOUND)  # none were compared
    assert "is not known" in told.given_r(replace(FOUND, given_r=()))


def test_further_sentences() -> None:
    assert "0.80 on the feature itself, 0.76 on its partner, 0.50 on a random feature" in told.scores(FOUND)
    assert told.effects(FOUND) == told.same(FOUND) == told.specificity(FOUND) == ""
    rows = (EffectLossRow("detection", "nothing", 150, -0.3, -0.4, -0.2),)
    assert "correlate at −0.30 (−0.40 to −0.20, 150 pairs);" in told.effects(replace(FOUND, with_effects=rows))
    rates = (SameRow("partners", 200, 0.6, 0.5, 0.7), SameRow("random pairs", 200, 0.1, 0.05, 0.15),
             SameRow("difference", 400, 0.5, 0.4, 0.6))  # fmt: skip
    assert "60% of 200 partners to describe the same thing, and of 10% of" in told.same(replace(FOUND, same=rates))
    shares = tuple(
        SpecificityRow("A", by, share, 50, mean, mean - 0.1, mean + 0.1, 0.3, 0.2, 0.4)
        for by, share, mean in (("explanation", "over the range", 0.7), ("explanation", "false alarms", 0.2))
    )
    text = told.specificity(replace(FOUND, specificity=shares))
    assert text.startswith("When a feature of A fires, what its explanation says is there 70% of the time (60% to 80%)")
    assert "where it does not fire, 20% of the time" in text


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.01, 0.05, "Yes."), (-0.01, 0.05, "Not shown."), (-0.05, -0.01, "No, less."), (NAN, NAN, "No answer, for")],
)
def test_the_answer_on_splits(low: float, high: float, word: str) -> None:
    split = SplitRow("all", "split", 40, 30, 0.6, 0.65, 0.05, 0.03, 0.07)
    rows = (
        split,
        replace(split, parents="not split", gain=-0.01),
        replace(split, parents="difference", gain=0.06, low=low, high=high),
    )
    text = split_answer(SplitTable("A", "detection", 0.95, rows))
    assert f"more specific? {word}" in text
    assert (
        "score 0.050 higher where the parent split (40 parents) and 0.010 lower where the parent has one child" in text
    )

"""Sentences on logit weights follow from the numbers, whichever way they fall."""

import math
from typing import Any

import pytest

from universality.report.data import LogitRow
from universality.report.logit_narrative import logit_answer, logit_caveat, logit_chance, same_partner
from universality.statistics import CalibrationSummary, Coincidence
from universality.statistics.calibration import NullSummary

SAME = Coincidence(2043, 332, 0.1625, 0.147, 0.179, 1 / 2048, 0.0039)


def row(role: Any, label: str, median: float, by_directions: float, share: float) -> LogitRow:
    nulls = {
        "vocabulary": NullSummary(5, 0.106, share_significant=0.876),
        "directions": NullSummary(5, by_directions, share_significant=share),
    }
    summary = CalibrationSummary("logit", held_out_median=median, median_ci=(median - 0.01, median + 0.01), nulls=nulls)
    return LogitRow(role, label, summary, SAME, pairs_median=median - 0.05, random_pairs_95=0.22)


ROWS = row("features", "SAE features", 0.283, 0.275, 0.0), row("ceiling", "two SAE seeds of A", 0.84, 0.41, 0.83)


def test_the_answer_names_both_nulls_the_ceiling_and_how_often_the_partners_are_one(headline: Any) -> None:
    said = logit_answer(headline(), ROWS)
    assert "have a median r of 0.28 on the other half (95% interval over token types 0.27 to 0.29)." in said
    assert "0.11 with B's token types exchanged within script and frequency (88% of features have q ≤ 0.05)" in said
    assert "0.28 with random directions of the same mean and covariance in place of features (0% of features" in said
    assert "For comparison: two SAE seeds of A 0.84 (83% with q ≤ 0.05 against random directions)." in said
    assert "for 16.2% of the 2,043 features that have both (95% interval 14.7% to 17.9%); by chance 0.05% " in said
    assert "and 0.39% for one drawn from the features that fire about as often." in said
    assert logit_answer(headline(), ()) == ""


def test_no_feature_with_both_partners_is_no_share() -> None:
    none = Coincidence(0, 0, *[math.nan] * 5)
    assert same_partner(LogitRow("features", "f", CalibrationSummary(), none)) == ""


@pytest.mark.parametrize(
    ("median", "by_directions", "warned"),
    [(0.283, 0.275, True), (0.25, 0.275, True), (0.84, 0.41, False), (math.nan, 0.3, False), (0.3, math.nan, False)],
)
def test_partners_no_more_alike_than_random_directions_are_warned_of(
    headline: Any, median: float, by_directions: float, warned: bool
) -> None:
    said = logit_caveat(headline(), [row("features", "f", median, by_directions, 0.0)])
    assert ("no more alike" in said) is warned
    assert logit_caveat(headline(), ()) == ""
    without = LogitRow("features", "f", CalibrationSummary(held_out_median=0.3), SAME)
    assert logit_caveat(headline(), [without]) == ""  # no null was run


def test_the_logit_r_of_a_pair_stands_beside_random_pairs_and_the_ceiling_s_pairs() -> None:
    assert logit_chance(ROWS) == "95% of random pairs below 0.22; medians: two SAE seeds of A 0.79"
    assert logit_chance(ROWS[:1]) == "95% of random pairs below 0.22"
    assert logit_chance(()) == ""

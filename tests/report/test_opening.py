"""The first screen of a report says what the numbers say, whichever way they fall."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from universality.report import Headline, Report, render, sample
from universality.report.data import Caution
from universality.report.opening import numbers, sentence

NULL = sample("null", "null", np.full(20, 0.01))
Build = Callable[..., Headline]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.6] * 55 + [0.1] * 45, "Largely yes: 55% of A's 100 living features have a partner in B with r ≥ 0.5"),
        ([0.6] * 5 + [0.1] * 95, "Mostly not: 5% of A's 100 living features have a partner in B with r ≥ 0.5"),
        ([0.01] * 100, "No: 0% of A's 100 living features"),
        ([0.4] * 10 + [np.nan] * 90, "No answer: 90% of A's living features fire too rarely on this text to be scored"),
        ([], "No answer: no pair of features could be scored on held-out text"),
    ],
)
def test_the_sentence_follows_from_the_numbers(headline: Build, values: list[float], expected: str) -> None:
    said = sentence(Report("t", headline([sample("features", "f", values), NULL])))
    assert said.startswith(expected)
    assert ("by chance none would" in said) == (not expected.startswith("No answer"))


def test_three_numbers_stand_beside_what_they_are_compared_with(headline: Build, samples: list[Any]) -> None:
    share, median, significant = numbers(Report("t", headline(share_within_kinds=0.9)))
    features = samples[0].population()
    assert share.value == f"{100 * features.shares[0]:.0f}%"
    assert median.value == f"{features.median:.2f}"
    assert [name for name, _ in median.beside] == ["chance", "neurons", "two SAEs of A"]
    assert (significant.value, significant.beside) == ("98%", (("within kinds of text", "90%"),))
    assert numbers(Report("t", headline([]))) == ()


def test_without_a_null_nothing_is_said_of_chance(headline: Build) -> None:
    some = [sample("features", "f", [0.6] * 20)]
    report = Report("t", headline(some, share_significant=float("nan")))
    assert "chance" not in sentence(report)
    assert len(numbers(report)) == 2


def test_cautions_that_a_run_can_remove_are_shown_and_the_others_folded(headline: Build) -> None:
    settings = Caution("Few replicates.", "Raise statistics.replicates.")
    given = Caution("One work holds a kind.", "Read the other kinds.", in_settings=False)
    page = render(Report("t", headline(), warnings=(settings, given)))
    box = page[page.index('class="warnings"') : page.index("The answer in full")]
    shown, folded = box.split("<details>")
    assert "Few replicates." in shown
    assert "Raise statistics.replicates." in shown
    assert "1 caution that follows from" in folded
    assert "Read the other kinds." in folded
    calm = render(Report("t", headline()))
    assert "Before you trust" not in calm

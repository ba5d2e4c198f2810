"""Warnings come exactly when the numbers give cause."""

import dataclasses

import numpy as np
import pytest

from universality.report import ConceptRow, LanguageModel, LanguageModels, Report, SaeQuality, sample
from universality.report.caveats import cautions, limits


@pytest.fixture
def calm(headline) -> Report:  # type: ignore[no-untyped-def]
    """Nothing to warn of."""
    good = SaeQuality("A", 512, 0, 512, 0.9, 32.0, 0.95)
    return Report(
        "t", headline(), models=LanguageModels((LanguageModel("A", loss=3.9),), 7.0, 4.5), saes=(good,),
        concepts=(ConceptRow("hebrew", 100, 1, n_groups=39),),
    )  # fmt: skip


def test_good_numbers_give_no_warning(calm: Report) -> None:
    assert cautions(calm) == ()


def test_no_numbers_give_no_warning_but_of_the_null(headline) -> None:  # type: ignore[no-untyped-def]
    (only,) = cautions(Report("t", headline([sample("features", "f", [0.5] * 9)])))
    assert "too few full blocks of different works to re-pair. Give more or longer documents" in str(only)
    assert cautions(Report("t", headline([]))) == ()  # an unfinished run has no matching that could have a null


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"saes": (SaeQuality("B", 512, 1, 512, 0.69, 32.0, 0.9),)}, "explain less than 70% of the variance: B, 512"),
        ({"saes": (SaeQuality("B", 512, 1, 512, 0.9, 32.0, 0.78),)}, "worst dictionary in Bricken"),
        ({"saes": (SaeQuality("B", 512, 1, 400, 0.9, 32.0, 0.9),)}, "more than 20% dead features: B, 512 wide (22%)"),
        ({"saes": (SaeQuality("B", 512, 1, 512, 0.9, 0.5, 0.9),)}, "no feature on most tokens: B, 512 wide (0.50)"),
        ({"saes": (SaeQuality("B", 512, 1, 512, 0.9, 64.0, 0.9),)}, "more than 10% of their features on a token: B"),
        ({"models": LanguageModels((LanguageModel("B", loss=4.6),), 7.0, 4.5)}, "B does not predict"),
        ({"concepts": (ConceptRow("dna", 100, 1, n_groups=1),)}, "1 kind of 1 in the table of concepts"),
        ({"warnings": ("mind the gap",)}, "mind the gap"),
    ],
)
def test_each_cause_gives_its_warning(calm: Report, changed, said) -> None:  # type: ignore[no-untyped-def]
    (only,) = cautions(dataclasses.replace(calm, **changed))
    assert said in str(only)


def test_few_tokens_no_null_and_a_low_ceiling_are_said(calm: Report, headline) -> None:  # type: ignore[no-untyped-def]
    some = [sample("features", "f", np.linspace(0.4, 0.6, 50)), sample("ceiling", "c", np.linspace(0.2, 0.4, 50))]
    found = cautions(dataclasses.replace(calm, headline=headline(some, n_tokens=999_999)))
    assert [any(said in str(line) for line in found) for said in ("999,999 tokens", "no null", "no upper bound")] == [
        True
    ] * 3
    assert len(found) == 3


def test_populations_of_which_many_have_no_score_are_named(calm: Report, headline) -> None:  # type: ignore[no-untyped-def]
    few = sample("ceiling", "two SAE seeds of A", np.linspace(0.5, 0.9, 158), without=300)
    features = sample("features", "SAE features", [*np.linspace(0.4, 0.6, 95), *[np.nan] * 5])
    null = sample("null", "null", [0.0])
    (only,) = cautions(dataclasses.replace(calm, headline=headline([features, few, null])))
    assert "two SAE seeds of A (158 of 458 scored)" in str(only)
    assert "SAE features" not in str(only)


def test_limits_name_the_number_of_models_and_keep_the_callers(calm: Report, headline) -> None:  # type: ignore[no-untyped-def]
    found = limits(dataclasses.replace(calm, limits=("mine",)))
    assert "has 1 language model and" in found[0]
    assert found[-1] == "mine"
    assert "None covers another training seed" in found[1]
    assert "small rise in r of sparse features with much more text" in found[1]
    one_to_one = [line for line in found if "one to one" in line]
    assert len(one_to_one) == 1
    assert not any(
        "one to one" in line for line in limits(dataclasses.replace(calm, headline=headline(method="nearest")))
    )

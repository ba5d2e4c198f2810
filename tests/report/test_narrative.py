"""Each sentence that the numbers can lead to, and that they do lead to it."""

import dataclasses
import math

import numpy as np
import pytest

from universality.config import parse_config
from universality.pipeline.study import units_of
from universality.report import ConceptRow, LanguageModel, LanguageModels, SaeQuality, WidthRow, sample
from universality.report.narrative import across_widths, answer, concepts, differ, language_models, question, verdict
from universality.statistics import CalibrationSummary

NULL = sample("null", "null", np.linspace(-0.01, 0.03, 400))


def spread(role, median, n=400, width=0.1):  # type: ignore[no-untyped-def]
    """A sample around a median."""
    return sample(role, role, np.linspace(median - width, median + width, n))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.linspace(0.2, 0.9, 100), "Largely yes"),
        (np.linspace(0.0, 0.7, 100), "In part"),
        (np.linspace(0.0, 0.55, 100), "Mostly not"),
        (np.linspace(-0.05, 0.05, 100), "No"),
        ([*np.linspace(0.4, 0.9, 40), *[np.nan] * 60], "No answer"),
        ([*[0.6] * 50, *[np.nan] * 50], "Largely yes"),
        ([], "No answer"),
        ([np.nan], "No answer"),
    ],
)
def test_verdict(headline, values, expected) -> None:  # type: ignore[no-untyped-def]
    assert verdict(headline([sample("features", "f", values), NULL])) == expected


def test_no_pairs_no_answer(headline) -> None:  # type: ignore[no-untyped-def]
    (only,) = answer(headline([NULL]))
    assert "cannot answer" in only


def test_the_numbers_are_in_the_first_paragraph(headline) -> None:  # type: ignore[no-untyped-def]
    features = sample("features", "f", np.repeat([0.2, 0.6, 0.8], 100), without=100)
    first = answer(headline([features, NULL], share_significant=0.4, width=512, n_tokens=640_000))[0]
    for part in (
        "400 living features of A (512 wide), 50% have a partner in B with r ≥ 0.5 and 25% one with r ≥ 0.7",
        "640,000 held-out tokens", "has a median of 0.40 (300 of 400 scored; 95% interval over features 0.20 to 0.60)",
        "5 replicates", "the median is 0.010 and 95% of pairs lie below 0.028",
        "none reaches 0.5", "40% of A's living features have a partner that beats chance at q ≤ 0.05",
    ):  # fmt: skip
        assert part in first, part


def test_without_a_null_nothing_is_said_of_chance(headline) -> None:  # type: ignore[no-untyped-def]
    first = answer(headline([spread("features", 0.6)], share_significant=math.nan))[0]
    assert "No null was run" in first
    assert "beats chance" not in first


def test_a_null_without_q_values_says_no_more_than_the_null(headline) -> None:  # type: ignore[no-untyped-def]
    first = answer(headline([spread("features", 0.6), NULL], share_significant=math.nan))[0]
    assert "the median is 0.010" in first
    assert "q ≤" not in first


def test_no_more_than_chance_is_said(headline) -> None:  # type: ignore[no-untyped-def]
    first = answer(headline([spread("features", 0.01, width=0.02), NULL]))[0]
    assert "no more similar to its partner than that" in first


def test_a_null_that_reaches_half_is_not_said_never_to(headline) -> None:  # type: ignore[no-untyped-def]
    null = sample("null", "n", [0.0] * 99 + [0.8])
    assert "none reaches" not in answer(headline([spread("features", 0.6), null]))[0]


def test_a_null_within_the_kind_is_named(headline) -> None:  # type: ignore[no-untyped-def]
    assert "of the same kind" in answer(headline([spread("features", 0.6), NULL], null="kind"))[0]


def test_significance_without_strength_is_called_a_low_bar(headline) -> None:  # type: ignore[no-untyped-def]
    assert "low bar" in answer(headline([spread("features", 0.3), NULL], share_significant=1.0))[0]
    assert "low bar" not in answer(headline([spread("features", 0.7), NULL], share_significant=1.0))[0]
    assert "low bar" not in answer(headline([spread("features", 0.3), NULL], share_significant=0.1))[0]


@pytest.mark.parametrize(
    ("median", "said"),
    [(0.30, "0.10 less than features"), (0.405, "about as similar"), (0.55, "0.15 more than features"),
     (None, "no baseline")],
)  # fmt: skip
def test_neurons(headline, median, said) -> None:  # type: ignore[no-untyped-def]
    some = [spread("features", 0.4), *([spread("neurons", median)] if median else [])]
    assert said in answer(headline(some))[1]


@pytest.mark.parametrize(
    ("median", "said"),
    [(0.70, "So 50% of the distance"), (0.405, "no more than across models"),
     (0.30, "should not happen with a ceiling"), (None, "ceiling is unknown")],
)  # fmt: skip
def test_ceiling(headline, median, said) -> None:  # type: ignore[no-untyped-def]
    some = [spread("features", 0.4), *([spread("ceiling", median)] if median else [])]
    assert said in answer(headline(some))[1]


def test_both_ceilings_are_named_with_what_they_are_of(headline) -> None:  # type: ignore[no-untyped-def]
    some = [spread("features", 0.4), spread("ceiling", 0.70), spread("ceiling", 0.64)]
    said = answer(headline(some, ceilings_of=("A", "B")))[1]
    assert (
        "two SAEs of A with a median of 0.70 (400 of 400 scored) and two SAEs of B with a median of 0.64 (400" in said
    )
    assert "So 50% to 60% of the distance" in said


def test_two_saes_that_are_no_ceiling_are_not_called_one(headline) -> None:  # type: ignore[no-untyped-def]
    why = (("A", "differ in k (16 and 32)"),)
    said = answer(headline([spread("features", 0.4)], no_ceilings=why))[1]
    assert (
        "The two SAEs of A differ in k (16 and 32), so they give no ceiling. The ceiling is therefore unknown." in said
    )
    some = [spread("features", 0.4), spread("ceiling", 0.7)]
    said = answer(headline(some, ceilings_of=("B",), no_ceilings=why))[1]
    assert "two SAEs of B with a median of 0.70" in said
    assert said.endswith("The two SAEs of A differ in k (16 and 32), so they give no ceiling.")


def test_a_median_that_at_most_half_reach_is_not_given(headline) -> None:  # type: ignore[no-untyped-def]
    few = sample("ceiling", "c", np.linspace(0.5, 0.9, 158), without=300)
    neurons = sample("neurons", "n", [0.3] * 5 + [np.nan] * 7)
    said = answer(headline([spread("features", 0.4), few, neurons], ceilings_of=("A",)))[1]
    assert "reach no median, since at most half have a score (5 of 12 scored)." in said
    assert "two SAEs of A with no median, since at most half have a score (158 of 458 scored)." in said
    assert "nan" not in said.lower()
    rare = answer(headline([sample("features", "f", [0.6] * 40 + [np.nan] * 60), spread("ceiling", 0.7)]))
    assert "40% have a partner in B with r ≥ 0.5" in rare[0]
    assert "60% fire too rarely on this text to be scored, so the shares are lower bounds" in rare[0]
    assert "no median, since at most half have a score (40 of 100 scored)" in rare[0]
    assert "lower bounds" not in answer(headline([sample("features", "f", [0.6] * 40, without=60)]))[0]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [(0.41, "hardly inflates"), (0.5, "inflates the median by 0.10"), (0.3, "the two halves differ in text")],
)
def test_optimism(headline, chosen, said) -> None:  # type: ignore[no-untyped-def]
    assert said in answer(headline([spread("features", 0.4)], chosen_median=chosen))[2]


def test_unknown_optimism_is_left_out(headline) -> None:  # type: ignore[no-untyped-def]
    assert len(answer(headline([spread("features", 0.4)], chosen_median=math.nan))) == 3


def test_published_values_stand_beside_this_runs(headline) -> None:  # type: ignore[no-untyped-def]
    last = answer(headline())[-1]
    assert "0.72 for features and 0.46 for neurons" in last
    assert "this run gives 0.55 for features and 0.40 for neurons" in last
    assert "for features." in answer(headline(nearest_neurons=math.nan))[-1]
    assert "this run" not in answer(headline(nearest_median=math.nan))[-1]


def test_two_medians_differ_only_beyond_their_intervals() -> None:
    a, b = spread("features", 0.4, n=20).population(), spread("neurons", 0.43, n=20).population()
    assert not differ(a, b)
    a, b = (dataclasses.replace(p, low=math.nan) for p in (a, b))
    assert differ(a, b)


def test_medians_do_not_differ_where_their_intervals_over_works_overlap() -> None:
    a, b = (spread(role, median, n=5000).population() for role, median in (("features", 0.4), ("neurons", 0.5)))
    assert differ(a, b)
    a, b = (dataclasses.replace(p, low_works=p.median - 0.06, high_works=p.median + 0.06) for p in (a, b))
    assert not differ(a, b)
    assert differ(a, dataclasses.replace(b, low_works=0.47))


def test_every_interval_says_over_what_it_is(headline) -> None:  # type: ignore[no-untyped-def]
    features = dataclasses.replace(spread("features", 0.6), over_works=(0.55, 0.65), n_works=123)
    first = answer(headline([features, NULL]))[0]
    assert "scored; 95% interval over features 0.59 to 0.61, over 123 works 0.55 to 0.65)." in first
    alone = answer(headline([spread("features", 0.6), NULL]))[0]
    assert "scored; 95% interval over features 0.59 to 0.61)." in alone


def widths(*medians: float) -> tuple[WidthRow, ...]:
    quality = SaeQuality("A", 512, 0, 512)
    return tuple(
        WidthRow(512 * 2**i, quality, quality, CalibrationSummary(held_out_median=m)) for i, m in enumerate(medians)
    )


@pytest.mark.parametrize(
    ("medians", "said"),
    [((0.3, 0.5), "rises (0.30 to 0.50)"), ((0.5, 0.1, 0.3), "falls"), ((0.3, 0.31), "stays about the same")],
)
def test_across_widths(medians, said) -> None:  # type: ignore[no-untyped-def]
    assert said in across_widths(widths(*medians))


def test_one_scored_width_has_no_trend() -> None:
    assert across_widths(widths(0.3, math.nan)) == across_widths(()) == ""


@pytest.mark.parametrize(
    ("losses", "bigram", "said"),
    [((3.9, 4.0), 4.5, "3.90 to 4.00 nats"), ((3.9, 4.0), 4.5, "the worst model is 0.50 better"),
     ((4.4, 4.45), 4.5, "hardly more"), ((3.9, 4.6), 4.5, "not every model is better"), ((3.9,), math.nan, "3.90 nats"),
     ((math.nan,), 4.5, "not known"), ((4.001, 4.002), 4.5, "is 4.00 nats")],
)  # fmt: skip
def test_language_models(losses, bigram, said) -> None:  # type: ignore[no-untyped-def]
    rows = tuple(LanguageModel(str(i), loss=loss) for i, loss in enumerate(losses))
    assert said in language_models(LanguageModels(rows, bigram=bigram))


def test_concepts() -> None:
    rows = (
        ConceptRow("hebrew", 100, 1, f1=0.9, held_out=0.84), ConceptRow("python", 100, 2, f1=0.6, held_out=0.3),
        ConceptRow("yi", 100, 3, f1=0.1, held_out=0.9),
    )  # fmt: skip
    said = concepts(rows)
    assert "Held-out r here: hebrew 0.84; published, from other models and text: hebrew 0.92." in said
    assert "Of 3 kinds, 2 have a feature" in said
    assert "of these, 1 has a partner with r ≥ 0.5" in said
    assert concepts(rows[2:]) == (
        "Of 1 kind, 0 have a feature in the first model that detects the kind well (F1 ≥ 0.5)."
    )
    assert "No kind" in concepts(())
    split = ConceptRow("base64", 9, 1, f1=0.9, held_out=0.68, known_by=3, most_alike=7, most_alike_held_out=0.94)
    assert "the one with the most similar partner has: base64 0.94 (of 3 features)." in concepts((split,))


def test_units_are_called_neurons_only_where_they_are(headline) -> None:  # type: ignore[no-untyped-def]
    def units_at(hook: str) -> str:
        return units_of(parse_config({"models": {"load": {"A": "starter/seed0"}}, "hook": hook}))

    assert [units_at(f"blocks.3.mlp.{name}") for name in ("hook_pre", "hook_post", "out.hook_in")] == ["neurons"] * 3
    residual = units_at("blocks.0.hook_resid_post")
    assert residual == "basis directions of blocks.0.hook_resid_post"
    assert units_at("blocks.0.hook_mlp_out") == "basis directions of blocks.0.hook_mlp_out"
    populations = [spread("features", 0.5), NULL, spread("neurons", 0.2)]
    at_residual = headline(populations, units=residual, nearest_median=0.5, nearest_neurons=0.2)
    text = " ".join(answer(at_residual))
    assert f"the models' own {residual} reach a median of 0.20" in text
    assert f"0.20 for {residual}." in text
    without = dataclasses.replace(headline(populations[:2]), units=residual)
    assert "Basis directions of blocks.0.hook_resid_post were not stored" in " ".join(answer(without))


def test_seeds_of_one_model_are_never_called_models(headline) -> None:  # type: ignore[no-untyped-def]
    seeds = headline([spread("features", 0.6), NULL], model_a="M seed 0", model_b="M seed 1", seeds_of="M")
    text = " ".join(answer(seeds))
    assert "have a partner in M seed 1 with r ≥ 0.5" in text
    assert (
        "Both dictionaries are of one model, M, were trained on the same text, and differ in their seed only." in text
    )
    for wrong in ("Bricken", "across models.", "not stored", "ceiling is unknown"):
        assert wrong not in text
    assert "which differ in their seed, find the same features?" in question(seeds)
    unlike = dataclasses.replace(seeds, unlike="differ in k (16 and 32)")
    assert "autoencoders of M, which differ in k (16 and 32), find the same" in question(unlike)
    text = " ".join(answer(unlike))
    assert "are of one model, M, and differ in k (16 and 32). This is therefore no ceiling" in text
    assert "differ in their seed only. This" not in text
    two = headline([spread("features", 0.6), NULL])
    assert question(two) == "Do two networks trained apart learn the same features?"
    assert "Bricken" in " ".join(answer(two))

"""Heatmap, scatter plots, strata, concepts: what the artists hold is what went in."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from universality.errors import UniversalityError
from universality.report import Caption, ConceptRow, figures
from universality.report.figures.scatter import FEW, agreement, optimism

DRAW = np.random.default_rng(0)


def matched(n: int) -> np.ndarray:
    matrix = DRAW.normal(0, 0.02, (n, n))
    np.fill_diagonal(matrix, np.linspace(1, 0.1, n) if n else 0)
    return matrix


def words(figure) -> str:  # type: ignore[no-untyped-def]
    return "\n".join(item.get_text() for item in figure.findobj(lambda a: hasattr(a, "get_text")))


# heatmap


def test_heatmap_shows_the_matrix_as_it_is_around_zero() -> None:
    matrix = figures.MatchedMatrix(matched(40), matched(8), 40, ("A", "שלום"))
    figure = figures.matched_heatmap(matrix)
    left, right = figure.axes[:2]
    assert_array_equal(left.images[0].get_array(), matrix.sample)
    assert_array_equal(right.images[0].get_array(), matrix.best)
    assert left.images[0].get_clim() == (-1, 1)
    assert left.get_title(loc="left") == "all 40 pairs"
    assert figure.axes[2].get_ylabel() == "activation r"
    figure.draw_without_rendering()


def test_a_sample_says_so_and_its_ticks_are_ranks() -> None:
    n_pairs = 16_384
    ranks = figures.spaced(n_pairs)
    assert (len(ranks), ranks[0], ranks[-1]) == (256, 0, n_pairs - 1)
    assert np.ptp(np.diff(ranks)) <= 1
    matrix = figures.MatchedMatrix(matched(256), matched(64), n_pairs)
    left = figures.matched_heatmap(matrix).axes[0]
    assert left.get_title(loc="left") == "256 evenly spaced of 16,384 pairs"
    for place in left.get_xticks():
        rank = int(left.xaxis.get_major_formatter()(place, 0).replace(",", ""))
        assert abs(ranks[round(place)] + 1 - rank) <= (n_pairs - 1) / 255 / 2 + 1
    assert "256 pairs, evenly spaced in that order, of 16,384" in figures.describe_heatmap(matrix).text


def test_the_caption_tells_diagonal_from_rest() -> None:
    matrix = np.full((4, 4), 0.6)
    np.fill_diagonal(matrix, 0.9)
    said = figures.describe_heatmap(figures.MatchedMatrix(matrix, matrix, 4))
    assert (
        "On the diagonal the median is 0.90; off it the median size is 0.600, and 100.00% of cells reach 0.5."
        in said.text
    )
    matrix[0, 1] = np.nan
    assert "0.600" in figures.describe_heatmap(figures.MatchedMatrix(matrix, matrix, 4)).alt


@pytest.mark.parametrize("n", [0, 1, 2])
def test_heatmap_of_little(n: int) -> None:
    matrix = figures.MatchedMatrix(matched(n), matched(n), n)
    figure = figures.matched_heatmap(matrix)
    assert ("no pairs" in words(figure)) == (n == 0)
    figure.draw_without_rendering()
    assert isinstance(figures.describe_heatmap(matrix), Caption)
    assert len(figures.spaced(n)) == n


@pytest.mark.parametrize("bad", [np.zeros((3, 4)), np.zeros(3), np.zeros((9, 9))])
def test_a_matrix_that_is_not_of_pairs_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(UniversalityError, match="sample: expected a square matrix of at most n_pairs = 8 pairs"):
        figures.MatchedMatrix(bad, matched(2), 8)


# scatter


def test_few_pairs_are_points_and_their_correlation_is_stated() -> None:
    x = DRAW.uniform(0, 1, 300)
    y = 0.5 * x + DRAW.normal(0, 0.1, 300)
    y[:5] = np.nan
    figure = figures.activation_against_logit(x, y)
    offsets = figure.axes[0].collections[0].get_offsets()
    assert {tuple(p) for p in offsets.tolist()} == set(zip(x[5:].tolist(), y[5:].tolist(), strict=True))
    r = np.corrcoef(x[5:], y[5:])[0, 1]
    assert f"n = 295 pairs\nPearson {r:.2f}" in words(figure)
    assert figure.axes[0].get_ylabel().startswith("logit-weight r")
    said = figures.describe_logit(x, y)
    assert "5 pairs without both numbers are left out" in said.text
    assert f"Pearson {r:.2f}" in said.alt


def test_many_pairs_are_counted() -> None:
    x = DRAW.uniform(-0.2, 1, 20_000)
    y = DRAW.uniform(-1, 1, 20_000)
    figure = figures.activation_against_logit(x, y)
    cells = figure.axes[0].collections[0].get_array()
    assert cells.sum() == 20_000
    assert "pairs in a cell" in words(figure)
    assert "hardly" in figures.describe_logit(x, y).text
    figure.draw_without_rendering()


@pytest.mark.parametrize("n", [0, 1, 2, FEW + 1])
def test_scatter_of_little_and_of_equal_points(n: int) -> None:
    for draw, describe in (
        (figures.activation_against_logit, figures.describe_logit),
        (figures.chosen_against_held_out, figures.describe_held_out),
    ):
        figure = draw(np.full(n, 0.5), np.full(n, 0.5))
        assert ("no pairs" in words(figure)) == (n == 0)
        assert "Pearson" not in words(figure)
        figure.draw_without_rendering()
        describe(np.full(n, 0.5), np.full(n, 0.5))


def test_optimism_is_the_mean_difference() -> None:
    chosen, held_out = np.array([0.5, 0.7, np.nan]), np.array([0.4, 0.5, 0.1])
    assert_allclose(optimism(chosen, held_out), 0.15)
    figure = figures.chosen_against_held_out(chosen, held_out)
    assert "mean optimism 0.150" in words(figure)
    assert "100% of pairs lie below" in figures.describe_held_out(chosen, held_out).text


def test_agreement_is_pearson_and_spearman() -> None:
    x = np.arange(1.0, 9)
    found = agreement(x, np.exp(x))
    assert_allclose(found.spearman, 1)
    assert found.pearson < 0.9
    assert agreement(x, -x).pearson == pytest.approx(-1)
    assert "closely" in figures.describe_logit(x, x).text
    assert "loosely" in figures.describe_logit(x, [1, 5, 2, 8, 3, 7, 4, 6]).text


def test_two_lists_of_different_length_are_refused() -> None:
    with pytest.raises(UniversalityError, match="expected two numbers for every pair, found 3 and 2"):
        figures.activation_against_logit([1, 2, 3], [1, 2])


# strata


def test_strata_are_the_calibrations() -> None:
    firings = np.array([5, 10, 99, 100, 5000, 7, 50])
    r = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, np.nan])
    found = figures.strata(firings, r, [10, 100, 1000, np.inf], [0.05, 0.02, 0.01])
    assert [(s.label, s.r.tolist(), s.null_quantile) for s in found] == [
        ("10–100", [0.2, 0.3], 0.05), ("100–1.0k", [0.4], 0.02), ("1.0k+", [0.5], 0.01),
    ]  # fmt: skip
    figure = figures.similarity_by_firings(found)
    (axes,) = figure.axes
    medians = sorted({float(line.get_ydata()[0]) for line in axes.lines if line.get_linewidth() == 1.8})
    assert_allclose(medians, [0.25, 0.4, 0.5])
    chance = next(line for line in axes.lines if line.get_label().startswith("95%"))
    assert_allclose(chance.get_ydata(), [0.05, 0.02, 0.01])
    assert "n=2" in words(figure)
    figure.draw_without_rendering()
    said = figures.describe_strata(found)
    assert "more alike than the rarest (0.50 against 0.25)" in said.text
    assert "10–100 firings: median 0.25 over 2 pairs" in said.alt
    assert "less alike" in figures.describe_strata(found[::-1]).text


def test_half_decades_by_default_and_every_pair_in_one() -> None:
    firings = 10 ** DRAW.uniform(0, 6, 500)
    found = figures.strata(firings, DRAW.uniform(0, 1, 500))
    assert sum(s.r.size for s in found) == 500
    assert_allclose([s.high / s.low for s in found], 10**0.5)
    figures.similarity_by_firings(found).draw_without_rendering()


@pytest.mark.parametrize(("firings", "r"), [([], []), ([0, 0], [0.1, 0.2]), ([5], [np.nan]), ([5], [0.3])])
def test_strata_of_little(firings, r) -> None:  # type: ignore[no-untyped-def]
    found = figures.strata(firings, r)
    figure = figures.similarity_by_firings(found)
    assert ("no pairs" in words(figure)) == (not found)
    figure.draw_without_rendering()
    figures.describe_strata(found)


def test_strata_refuse_what_does_not_fit() -> None:
    with pytest.raises(UniversalityError, match="expected a firing count for every pair, found 2 for 1 pairs"):
        figures.strata([1, 2], [0.5])
    with pytest.raises(UniversalityError, match="expected a null quantile for each of 2 strata, found 1"):
        figures.strata([1], [0.5], [1, 10, 100], [0.1])


# concepts


def rows() -> list[ConceptRow]:
    base = ConceptRow("hebrew", 100, 1, n_groups=39, f1=0.9, held_out=0.8, ci_low=0.7, ci_high=0.85)
    return [
        base,
        dataclasses.replace(base, kind="dna", n_groups=1, held_out=0.9, ci_low=np.nan),
        dataclasses.replace(base, kind="\u202eעברית", f1=0.2, held_out=-0.3, ci_low=-0.4, ci_high=-0.1),
        dataclasses.replace(base, kind="lost", held_out=np.nan),
    ]


def test_concepts_are_ordered_dots_with_intervals_and_published_values() -> None:
    figure = figures.concept_dots(rows())
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["dna †", "hebrew", "U+202Eעברית"]
    found = {line.get_label(): line.get_xdata() for line in axes.lines}
    assert_allclose(found["tells the kind (F1 ≥ 0.5)"], [0.9, 0.8])
    assert_allclose(found["does not (F1 < 0.5)"], [-0.3])
    assert_allclose(found["Bricken et al. 2023"], [0.92, 0.92])
    bars = [seg[:, 0].tolist() for c in axes.collections for seg in c.get_segments()]
    assert [0.7, 0.85] in bars
    assert axes.get_xlim()[0] < -0.4
    figure.draw_without_rendering()
    said = figures.describe_concepts(rows())
    assert "1 of 4 kinds are not drawn" in said.text
    assert "† Fewer than 8 works" in said.text


def test_no_concepts() -> None:
    figure = figures.concept_dots(rows()[3:])
    assert "no kind was scored" in words(figure)
    figure.draw_without_rendering()
    assert "none" in figures.describe_concepts([]).alt

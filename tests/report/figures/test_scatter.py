"""Scatter plots of two numbers of the same pairs."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.errors import UniversalityError
from universality.plot.pair_points import FEW, optimism
from universality.report import figures

DRAW = np.random.default_rng(0)


def words(figure) -> str:  # type: ignore[no-untyped-def]
    return "\n".join(item.get_text() for item in figure.findobj(lambda a: hasattr(a, "get_text")))


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


def test_logit_r_stands_beside_that_of_random_pairs() -> None:
    x, y = np.linspace(0, 1, 100), np.linspace(0.01, 1, 100)
    by_chance = np.append(np.linspace(0, 0.4, 101), np.nan)
    dashed = [line for line in figures.activation_against_logit(x, y, by_chance).axes[0].lines if line.is_dashed()]
    assert_allclose([line.get_ydata() for line in dashed], [[0.38, 0.38]])
    said = figures.describe_logit(x, y, by_chance).text
    assert "fire about as often lie below 0.38; 62% of the matched pairs lie above." in said
    assert "Dashed" not in figures.describe_logit(x, y).text
    assert not any(line.is_dashed() for line in figures.activation_against_logit(x, y, [np.nan]).axes[0].lines)


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


def test_the_strength_of_a_correlation_is_in_words() -> None:
    x = np.arange(1.0, 9)
    assert "strongly correlated" in figures.describe_logit(x, x).text
    assert "moderately correlated" in figures.describe_logit(x, [1, 5, 2, 8, 3, 7, 4, 6]).text


def test_two_lists_of_different_length_are_refused() -> None:
    with pytest.raises(UniversalityError, match="expected two numbers for every pair, found 3 and 2"):
        figures.activation_against_logit([1, 2, 3], [1, 2])

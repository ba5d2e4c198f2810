"""The matched similarity matrix, sampled and clustered."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from universality.errors import UniversalityError
from universality.report import Caption, figures

DRAW = np.random.default_rng(0)


def matched(n: int) -> np.ndarray:
    matrix = DRAW.normal(0, 0.02, (n, n))
    np.fill_diagonal(matrix, np.linspace(1, 0.1, n) if n else 0)
    return matrix


def words(figure) -> str:  # type: ignore[no-untyped-def]
    return "\n".join(item.get_text() for item in figure.findobj(lambda a: hasattr(a, "get_text")))


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
        "On the diagonal the median is 0.90; off the diagonal the median size is 0.600, and 100.00% of cells reach 0.5."
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


def test_clusters_stand_together_in_the_figure() -> None:
    group = np.asarray([0, 1, 2] * 10)
    alike = (group[:, None] == group[None, :]).astype(float)
    axes = figures.clustered_heatmap(figures.MatchedMatrix(alike, alike, 30)).axes[0]
    first = np.asarray(axes.images[0].get_array())[0]
    assert_array_equal(first, np.arange(30) < 10)
    assert axes.get_ylabel() == "feature of A, clustered"

"""Similarity by firing count."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.plot.class_boxes import strata_by_number
from universality.report import figures

DRAW = np.random.default_rng(0)


def words(figure) -> str:  # type: ignore[no-untyped-def]
    return "\n".join(item.get_text() for item in figure.findobj(lambda a: hasattr(a, "get_text")))


def test_strata_are_the_calibrations() -> None:
    firings = np.array([5, 10, 99, 100, 5000, 7, 50])
    r = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, np.nan])
    found = strata_by_number(firings, r, [10, 100, 1000, np.inf], [0.05, 0.02, 0.01])
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
    assert "more similar than the rarest (0.50 against 0.25)" in said.text
    assert "10–100 firings: median 0.25 over 2 pairs" in said.alt
    assert "left out" not in said.text
    assert "2 pairs with a feature too rare for these classes are left out." in figures.describe_strata(found, 6).text
    assert "less similar" in figures.describe_strata(found[::-1]).text


@pytest.mark.parametrize(("firings", "r"), [([], []), ([0, 0], [0.1, 0.2]), ([5], [np.nan]), ([5], [0.3])])
def test_strata_of_little(firings, r) -> None:  # type: ignore[no-untyped-def]
    found = strata_by_number(firings, r)
    figure = figures.similarity_by_firings(found)
    assert ("no pairs" in words(figure)) == (not found)
    figure.draw_without_rendering()
    figures.describe_strata(found)

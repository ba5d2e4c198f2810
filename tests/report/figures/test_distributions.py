"""Curves of best-match similarities."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.plot.survival import survival
from universality.report import figures, sample


def texts(axes_or_figure) -> str:  # type: ignore[no-untyped-def]
    """Everything written in a picture."""
    return "\n".join(item.get_text() for item in axes_or_figure.findobj(lambda a: hasattr(a, "get_text")))


def test_curves_show_shares_of_all_and_medians(samples) -> None:  # type: ignore[no-untyped-def]
    figure = figures.best_match_distribution(samples)
    (axes,) = figure.axes
    lines = {line.get_label().split("\n")[0]: line for line in axes.lines if not line.get_label().startswith("_")}
    assert list(lines) == ["SAE features", "two SAEs of A", "neurons", "re-paired text"]
    for one in samples:
        x, y = lines[one.label].get_data()
        exact = [(one.values >= r).sum() / (one.values.size + one.without) for r in x]
        assert_allclose(y, exact)
    dots = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.lines if line.get_marker() == "o"]
    of_all = [np.median(np.concatenate([one.values, np.full(one.without, -1.0)])) for one in samples]
    assert_allclose([x for x, _ in dots], of_all)
    assert_allclose([y for _, y in dots], 0.5, atol=0.003)  # number and curve are of the same features
    written = texts(figure)
    assert f"median {of_all[0]:.2f} (500 of 512 scored)" in written
    assert "held-out" in axes.get_xlabel()
    caption = figures.describe_distribution(samples)
    assert f"median {np.median(samples[1].values):.2f}" in caption.alt


def test_looks_differ_in_more_than_colour(samples) -> None:  # type: ignore[no-untyped-def]
    axes = figures.best_match_distribution(samples).axes[0]
    curves = [line for line in axes.lines if not line.get_label().startswith("_")]
    assert len({line._dash_pattern[1] if line._dash_pattern[1] is None else tuple(line._dash_pattern[1])
                for line in curves}) == len(curves)  # fmt: skip


@pytest.mark.parametrize(
    ("some", "said"),
    [([], "nothing was scored"), ([sample("null", "x", [])], "0 of 0 scored"),
     ([sample("features", "x", [np.nan, np.nan])], "0 of 2 scored"),
     ([sample("features", "x", [0.3])], "1 of 1 scored")],
)  # fmt: skip
def test_distributions_of_little(some, said) -> None:  # type: ignore[no-untyped-def]
    figure = figures.best_match_distribution(some)
    assert said in texts(figure)
    figure.draw_without_rendering()


def test_a_curve_that_begins_below_one_half_has_no_median() -> None:
    few = sample("ceiling", "few", np.linspace(0.5, 0.9, 158), without=300)
    axes = figures.best_match_distribution([few]).axes[0]
    assert np.isnan([line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]).all()
    assert "median – (158 of 458 scored)" in texts(axes.figure)
    assert_allclose(survival(few)[1][0], 158 / 458)
    assert "few: median –, 34% at r ≥ 0.5 (158 of 458 scored)" in figures.describe_distribution([few]).alt


def test_a_large_sample_is_drawn_whole() -> None:
    big = sample("features", "big", np.random.default_rng(0).uniform(-1, 1, 20_000))
    x, y = survival(big)
    assert x.size == 20_000
    assert (y[0], x[0]) == (1.0, big.values.min())

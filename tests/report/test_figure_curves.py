"""Distributions, densities, training: what the artists hold is what went in."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.report import figures, sample
from universality.report.figures.distributions import survival


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


def test_densities_have_a_panel_a_width_and_count_the_dead() -> None:
    draw = np.random.default_rng(0)
    some = []
    for width in (1024, 512):
        for model in "AB":
            density = 10 ** draw.uniform(-4, -1, width)
            density[: width // 8] = 0
            some.append(figures.DensitySample(model, width, density))
    figure = figures.feature_densities(some)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["512 features", "1,024 features"]
    for axes, width in zip(figure.axes, (512, 1024), strict=True):
        assert [t.get_text() for t in axes.get_legend().get_texts()] == [f"{m}: {width // 8} dead" for m in "AB"]
        for patch in axes.patches:
            assert_allclose(patch.get_data().values.sum(), 7 / 8)
    figure.draw_without_rendering()
    assert "A, 512 wide" in figures.describe_densities(some).alt


@pytest.mark.parametrize("density", [[], [0.0, 0.0], [1.0], [1e-7, 1.0]])
def test_densities_of_little(density) -> None:  # type: ignore[no-untyped-def]
    some = [figures.DensitySample("A", len(density), np.array(density))]
    figure = figures.feature_densities(some)
    living = sum(d > 0 for d in density)
    assert_allclose(figure.axes[0].patches[0].get_data().values.sum(), living / max(1, len(density)))
    figure.draw_without_rendering()
    figures.describe_densities(some)
    figures.feature_densities([]).draw_without_rendering()


LOG = [
    {"step": 0, "tokens": 100, "saes": {"A/w512-s0": {"loss": 2.0, "l0": 32.0, "explained_variance": None},
                                        "B/w512-s0": {"loss": 3.0, "dead_share": 0.0}}},
    {"step": 9, "tokens": 900, "saes": {"A/w512-s0": {"loss": 1.0, "l0": 32.0, "explained_variance": 0.5},
                                        "B/w512-s0": {"loss": math.nan, "dead_share": 0.25}}},
]  # fmt: skip


def test_training_curves_follow_the_log() -> None:
    found, unit = figures.curves(LOG)
    assert unit == "tokens"
    by_name = {(c.run, c.measure): (c.x, c.y) for c in found}
    assert by_name["A/w512-s0", "loss"] == ((100.0, 900.0), (2.0, 1.0))
    assert by_name["A/w512-s0", "explained_variance"] == ((900.0,), (0.5,))
    assert by_name["B/w512-s0", "loss"] == ((100.0,), (3.0,))
    figure = figures.training_curves(found, unit)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["loss", "explained variance", "L0 (features a token)", "share of dead features"]
    assert [len(axes.lines) for axes in figure.axes] == [2, 1, 1, 1]
    assert "training tokens" in texts(figure)
    figure.draw_without_rendering()
    assert "B/w512-s0 dead_share 0.25 at 900" in figures.describe_training(found, unit).alt


@pytest.mark.parametrize(("models", "saes"), [(2, 7), (8, 2), (2, 20), (12, 4)])
def test_every_sae_s_curve_has_a_look_of_its_own(models: int, saes: int) -> None:
    runs = {f"M{m}/w{w}": {"loss": 1.0} for m in range(models) for w in range(saes)}
    (axes,) = figures.training_curves(*figures.curves([{"tokens": 1, "saes": runs}, {"tokens": 2, "saes": runs}])).axes
    looks = {(line.get_color(), str(line._dash_pattern)) for line in axes.lines}
    assert len(looks) == len(axes.lines) == models * saes
    if models <= 6 and saes <= 8:  # then a model is known by its colour
        assert len({line.get_color() for line in axes.lines}) == models


def test_flat_rows_and_steps_are_read_too() -> None:
    found, unit = figures.curves([{"step": 0, "loss": 9.0}, {"step": 50, "loss": 7.0}], "A")
    assert (unit, [(c.run, c.x, c.y) for c in found]) == ("step", [("A", (0.0, 50.0), (9.0, 7.0))])


def test_no_log_no_curves() -> None:
    figure = figures.training_curves(*figures.curves([]))
    assert "nothing was logged" in texts(figure)
    figure.draw_without_rendering()
    assert "none" in figures.describe_training([]).alt

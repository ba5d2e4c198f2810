"""Histograms of firing rates."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.plot.firing_rates import DensitySample
from universality.report import figures


def test_densities_have_a_panel_a_width_and_count_the_dead() -> None:
    draw = np.random.default_rng(0)
    some = []
    for width in (1024, 512):
        for model in "AB":
            density = 10 ** draw.uniform(-4, -1, width)
            density[: width // 8] = 0
            some.append(DensitySample(model, width, density))
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
    some = [DensitySample("A", len(density), np.array(density))]
    figure = figures.feature_densities(some)
    living = sum(d > 0 for d in density)
    assert_allclose(figure.axes[0].patches[0].get_data().values.sum(), living / max(1, len(density)))
    figure.draw_without_rendering()
    figures.describe_densities(some)
    figures.feature_densities([]).draw_without_rendering()

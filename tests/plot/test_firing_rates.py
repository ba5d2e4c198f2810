"""Histograms of densities, from stores whose activations are not read, and of features of one's own."""

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from universality import FeatureStore, plot
from universality.errors import UniversalityError
from universality.features.storage import store as store_module
from universality.statistics.synthetic import Planted


def names(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_outlines_are_shares_of_all_features_and_the_dead_are_stated() -> None:
    axes = Figure().subplots()
    density = np.array([0.5, 0.05, 0.04, 0.0])
    assert plot.densities({"A": density, "some": density[:2]}, ax=axes) is axes
    assert names(axes) == ["A: 1 of 4 dead", "some: 0 of 2 dead"]
    first, second = (patch.get_data() for patch in axes.patches)
    assert_allclose(first.edges[[0, -1]], [-2, 0])
    assert_allclose([first.values.sum(), second.values.sum()], [0.75, 1.0])
    counted = first.values[np.searchsorted(first.edges, np.log10([0.5, 0.05]), "right") - 1]
    assert_allclose(counted, [0.25, 0.5])
    assert plot.densities({"A": density}, decades=5).get_xlim() == (-5, 0)
    assert plot.densities([]).texts[0].get_text() == "no dictionaries"


def test_only_the_counts_of_stores_are_read(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(*arguments: Any) -> Any:
        raise AssertionError("activations were read")

    monkeypatch.setattr(store_module, "read_span", unwanted)
    with FeatureStore.open(planted.a.path) as a, FeatureStore.open(planted.b.path) as b:
        axes = plot.densities((a, b))
        one = plot.densities(a)
        with pytest.raises(AssertionError, match="activations were read"):
            a.feature(0)
    assert names(axes) == [f"{store.path.stem}: 0 of 40 dead" for store in (planted.a, planted.b)]
    assert len(one.patches) == 1
    density = planted.a.moments().density
    in_bins = np.histogram(np.log10(density), axes.patches[0].get_data().edges)[0] / 40
    assert_allclose(axes.patches[0].get_data().values, in_bins)


def test_what_are_no_densities_is_refused(planted: Planted) -> None:
    for given, said in (
        (
            {"A": [3, 40]},
            "expected shares of tokens from 0 to 1 for 'A', found 3 to 40; firing counts are to be",
        ),
        ({"A": ["x"]}, r"expected a store or densities \[n_features\] for 'A', found list"),
        ([planted.a, 0.1], "expected stores, or name → store or densities; found float"),
    ):
        with pytest.raises(UniversalityError, match=said):
            plot.densities(given)  # type: ignore[arg-type]
    with pytest.raises(UniversalityError, match="A has densities below 10\\^-2; raise decades"):
        plot.densities({"A": [0.001]}, decades=2)
    with pytest.raises(UniversalityError, match="expected decades >= 1, found 0"):
        plot.densities({"A": [0.1]}, decades=0)

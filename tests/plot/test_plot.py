"""`universality.plot` costs nothing until it draws, and draws into the axes that it is given."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes

from universality import plot
from universality.errors import UniversalityError
from universality.statistics import Calibration
from universality.statistics.synthetic import Planted

NAMES = [
    "carried_loss", "concepts", "consistency", "coverage", "crosscoder", "densities", "ecdf", "effects", "family",
    "heatmap", "held_out", "icicle", "label_transfer", "logit", "map", "pair", "splitting", "strata", "training",
]  # fmt: skip
PAIRS = pd.DataFrame({"score": [0.5, 0.9], "held_out": [0.4, 0.8], "logit_r": [0.1, 0.2], "count_a": 20, "count_b": 9})
LEVELS = pd.DataFrame({"width": [8, 16], "merge_rate": [np.nan, 0.3]})
CONCEPTS = pd.DataFrame({"kind": ["dna"], "held_out": [0.6], "f1": [0.7]})
DRAWN: dict[str, Callable[..., Axes]] = {
    "concepts": lambda **ax: plot.concepts(CONCEPTS, **ax),
    "consistency": lambda **ax: plot.consistency(pd.concat([PAIRS] * 10), **ax),
    "coverage": lambda **ax: plot.coverage([0.2, 0.8], **ax),
    "crosscoder": lambda **ax: plot.crosscoder([0.1, 0.5], **ax),
    "densities": lambda **ax: plot.densities({"A": [0.1, 0.01]}, **ax),
    "ecdf": lambda **ax: plot.ecdf([0.2, 0.8], **ax),
    "heatmap": lambda **ax: plot.heatmap(np.eye(4), colorbar=False, clustered=True, **ax),
    "held_out": lambda **ax: plot.held_out(PAIRS, **ax),
    "logit": lambda **ax: plot.logit(PAIRS, **ax),
    "splitting": lambda **ax: plot.splitting(LEVELS, "merges", **ax),
    "strata": lambda **ax: plot.strata(PAIRS, **ax),
    "training": lambda **ax: plot.training([{"tokens": 1, "loss": 2.0}], **ax),
}


def test_names_are_there_and_unknown_ones_are_not() -> None:
    assert plot.__all__ == NAMES
    assert all(callable(getattr(plot, name)) for name in plot.__all__)
    with pytest.raises(AttributeError, match=r"module 'universality\.plot' has no attribute 'histogram'"):
        _ = plot.histogram


def test_naming_it_imports_no_matplotlib_and_drawing_no_torch() -> None:
    script = (
        "import sys, universality; universality.plot; assert 'matplotlib' not in sys.modules;"
        "universality.plot.heatmap; universality.plot.held_out; assert 'matplotlib' in sys.modules;"
        "bad = {'torch', 'transformers', 'universality.statistics', 'jinja2'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_goes_into_the_axes_of_a_grid_again_and_again(name: str) -> None:
    figure, grid = pyplot.subplots(2, 2)
    for place in ((0, 1), (1, 0)):
        assert DRAWN[name](ax=grid[place]) is grid[place]
    assert [axes.has_data() for axes in grid.flat] == [False, True, True, False]
    assert pyplot.get_fignums() == [figure.number]
    assert len(figure.axes) == 4
    alone = DRAWN[name]()
    assert alone.figure is not figure
    assert [text.get_text() for text in alone.texts] == [text.get_text() for text in grid[0, 1].texts]


def test_bad_input_leaves_no_empty_figure_behind() -> None:
    wrong: dict[str, Any] = {"ecdf": {"a": ["b"]}, "held_out": 3, "splitting": 3, "densities": 3.0, "crosscoder": "x"}
    for name, given in wrong.items():
        with pytest.raises(UniversalityError, match=f"^{name}: expected "):
            getattr(plot, name)(given)
    assert pyplot.get_fignums() == []


def test_thirty_features_of_ones_own_take_five_lines(planted: Planted, calibration: Calibration) -> None:
    mine = calibration.to_frame().query("row < 30")
    grid = pyplot.subplots(2, 2)[1]
    plot.heatmap((planted.a, planted.b), rows=mine["row"], cols=mine["col"], colorbar=False, ax=grid[0, 0])
    plot.held_out(mine, ax=grid[0, 1])
    plot.densities({"mine": planted.a.moments().density[mine["row"]]}, ax=grid[1, 0])
    plot.strata(mine, ax=grid[1, 1])
    assert grid[0, 0].images[0].get_array().shape == (len(mine), len(mine))
    assert len(grid[0, 1].collections[0].get_offsets()) == mine["held_out"].notna().sum()

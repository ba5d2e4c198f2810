"""Boxes of pairs by class."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from universality import plot
from universality.errors import UniversalityError
from universality.plot.class_boxes import MOST_KINDS, NULL, strata_by_number
from universality.statistics import Calibration

DRAW = np.random.default_rng(0)


def medians(axes: Any) -> list[float]:
    return [float(line.get_ydata()[0]) for line in axes.lines if line.get_linewidth() == 1.8]


def labels(axes: Any) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def test_a_calibration_has_the_classes_and_the_quantiles_of_its_null(calibration: Calibration) -> None:
    axes = Figure().subplots()
    assert plot.strata(calibration, ax=axes) is axes
    null, scored = calibration.chances[0], ~np.isnan(calibration.held_out)
    rarer = np.minimum(null.count_a, null.count_b)[scored]
    inside = np.histogram(rarer, calibration.edges)[0]
    assert inside.all()
    assert [text.get_text() for text in axes.texts] == [f"n={n}" for n in inside]
    assert axes.get_title(loc="left") == f"{scored.sum() - inside.sum()} pairs in no class"
    chance = next(line for line in axes.lines if line.get_label() == NULL)
    assert_allclose(chance.get_ydata(), calibration.strata()["tau"])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [NULL]


def test_a_table_has_half_decades_of_firings_and_no_null(calibration: Calibration) -> None:
    frame = calibration.to_frame()
    axes = plot.strata(frame)
    assert axes.get_legend() is None
    assert sum(int(text.get_text()[2:]) for text in axes.texts) == frame["held_out"].notna().sum()
    shares = frame.drop(columns=["count_a", "count_b"]).assign(row_density=0.002, col_density=0.5)
    assert labels(plot.strata(shares)) == ["0.1%–0.3%"]


def test_kinds_have_boxes_the_commonest_first() -> None:
    pairs = pd.DataFrame({"held_out": [0.2, 0.4, 0.9, np.nan, 0.5], "row_kind": ["code", "code", "prose", "dna", None]})
    axes = plot.strata(pairs, "row_kind")
    assert labels(axes) == ["code", "none", "prose"]
    assert_allclose(medians(axes), [0.3, 0.5, 0.9])
    assert axes.get_xlabel() == "row kind"
    kinds = [f"kind {i}" for i in range(MOST_KINDS + 2)] * 2
    many = plot.strata(pd.DataFrame({"held_out": DRAW.random(len(kinds))}), kinds)
    assert labels(many)[-1] == "2 other kinds"
    assert [many.texts[k].get_text() for k in (0, -1)] == ["n=2", "4"]


def test_numbers_of_ones_own_have_edges() -> None:
    pairs = pd.DataFrame({"held_out": [0.1, 0.3, 0.7], "row_purity": [0.0, 0.1, 0.9]})
    axes = plot.strata(pairs, "row_purity", edges=[0, 0.5, 1])
    assert labels(axes) == ["0–0.5", "0.5–1"]
    assert_allclose(medians(axes), [0.2, 0.7])


def test_half_decades_by_default_and_every_pair_in_one() -> None:
    firings, r = 10 ** DRAW.uniform(0, 6, 500), DRAW.uniform(0, 1, 500)
    found = strata_by_number(firings, r)
    assert [stratum.label for stratum in found][:3] == ["1–3.2", "3.2–10", "10–32"]
    assert_allclose(np.concatenate([np.sort(stratum.r) for stratum in found][:1]), np.sort(r[firings < 10**0.5]))
    assert sum(stratum.r.size for stratum in found) == 500


def test_what_does_not_fit_is_refused() -> None:
    pairs = pd.DataFrame({"held_out": [0.1, 0.3], "row_purity": [0.0, 0.1]})
    for arguments, said in (
        (
            {"by": "row_purity"},
            r"row purity go down to 0, and half decades need positive numbers; pass edges=\[",
        ),
        ({"by": "kind"}, "strata: the table lacks kind; it has the columns held_out, row_purity"),
        ({"by": [1, 2, 3]}, "strata: expected one value for each of 2 pairs, found 3"),
        ({"by": [1, 2], "edges": [3, 1]}, r"strata: expected rising edges, found \[3.0, 1.0\]"),
        ({}, "strata: the table lacks count_a, count_b"),
    ):
        with pytest.raises(UniversalityError, match=said):
            plot.strata(pairs, **arguments)  # type: ignore[arg-type]
    with pytest.raises(UniversalityError, match="expected a firing count for every pair, found 2 for 1 pairs"):
        strata_by_number([1, 2], [0.5])
    with pytest.raises(UniversalityError, match="expected a null quantile for each of 2 strata, found 1"):
        strata_by_number([1], [0.5], [1, 10, 100], [0.1])

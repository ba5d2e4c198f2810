"""Consistency is the median r of pairs by firings."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from universality import plot
from universality.errors import UniversalityError
from universality.plot.median_by_firings import FrequencySample
from universality.statistics import Calibration


def test_quartiles_by_frequency_find_the_planted_rise() -> None:
    draw = np.random.default_rng(0)
    firings = 10 ** draw.uniform(1, 4, 4000)
    found = FrequencySample("features", "x", firings, np.log10(firings) / 4 + draw.normal(0, 0.01, 4000)).quartiles()
    assert_allclose(found[:, 2], np.log10(found[:, 0]) / 4, atol=0.02)
    shuffled = FrequencySample("features", "x", draw.permutation(firings), np.log10(firings) / 4).quartiles()
    assert np.ptp(shuffled[:, 2]) < 0.2


def table(low: float, high: float) -> pd.DataFrame:
    """Ten pairs that fire about 30 times and ten that fire about 900 times; the first feature is the rarer one."""
    return pd.DataFrame({"held_out": [low] * 10 + [high] * 10, "count_a": [30] * 10 + [900] * 10, "count_b": 1000})


def test_several_models_are_lines_of_their_own() -> None:
    axes = Figure().subplots()
    assert plot.consistency({"A and B": table(0.2, 0.6), "A and C": table(0.1, 0.3)}, ax=axes) is axes
    drawn = {line.get_label(): line.get_xydata() for line in axes.lines[1:]}
    centres = [10**1.375, 10**2.875]
    assert_allclose(drawn["A and B"], list(zip(centres, [0.2, 0.6], strict=True)))
    assert_allclose(drawn["A and C"], list(zip(centres, [0.1, 0.3], strict=True)))
    assert len({line.get_color() for line in axes.lines[1:]}) == 2
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["A and B", "A and C"]


def test_a_calibration_brings_its_ceilings_unless_others_are_given(calibration: Calibration) -> None:
    many = replace(calibration, count_a=np.full(calibration.held_out.size, 50), ceiling_b=calibration.held_out)
    own = plot.consistency(many)
    assert [line.get_label() for line in own.lines[1:]] == ["SAE features", "ceilings of the matched columns"]
    given = plot.consistency(many, ceilings={"two seeds of A": many}, label="features of A")
    assert [line.get_label() for line in given.lines[1:]] == ["features of A", "two seeds of A"]


def test_few_firings_have_a_scale_in_plain_numbers() -> None:
    narrow = plot.consistency(table(0.2, 0.6).replace({"count_a": {900: 60}}))
    one_power = plot.consistency(table(0.2, 0.6))
    wide = plot.consistency(table(0.2, 0.6).replace(900, 9000).replace(1000, 9000))
    drawn = (narrow, one_power, wide)
    scales = [{axes.xaxis.get_major_formatter()(at, 0) for at in axes.get_xticks()} for axes in drawn]
    assert {"30", "45", "60"} <= scales[0]
    assert {"50", "100", "200"} <= scales[1]
    assert {"10²", "10³"} <= scales[2]


def test_too_few_pairs_are_said_and_bad_input_is_refused(calibration: Calibration) -> None:
    assert plot.consistency(table(0.2, 0.6)[:9]).texts[0].get_text() == "too few pairs"
    with pytest.raises(UniversalityError, match="consistency: the table lacks count_b; it has the columns held_out, c"):
        plot.consistency(table(0, 1).drop(columns="count_b"))
    with pytest.raises(UniversalityError, match="ceilings belong to one calibration; name them in the mapping"):
        plot.consistency({"x": table(0, 1)}, ceilings={"c": calibration})

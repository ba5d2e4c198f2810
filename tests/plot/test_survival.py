"""The curves of a calibration are those of the report: features, null and ceilings over stated populations."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal

from universality import plot
from universality.errors import UniversalityError
from universality.plot.style import PAGE
from universality.report.data import PAGE_WIDTH, sample
from universality.report.figures import best_match_distribution
from universality.statistics import Calibration


def curves(axes: Any) -> dict[str, np.ndarray]:
    """First line of a legend entry → [n, 2] points."""
    return {
        line.get_label().splitlines()[0]: np.column_stack([line.get_xdata(), line.get_ydata()])
        for line in axes.lines
        if not line.get_label().startswith("_")
    }


def test_scores_become_the_share_that_reaches_them() -> None:
    axes = Figure().subplots()
    assert plot.ecdf([0.2, 0.8, np.nan, 0.4], ax=axes, label="mine") is axes
    assert_allclose(curves(axes)["mine"], [[0.2, 0.75], [0.4, 0.5], [0.8, 0.25]])
    assert axes.get_legend().get_texts()[0].get_text() == "mine\nmedian 0.30 (3 of 4 scored)"


def test_a_calibration_is_drawn_as_in_a_report(calibration: Calibration) -> None:
    axes = plot.ecdf(calibration, ceilings={"two seeds of A": calibration})
    null = calibration.null_scores[~np.isnan(calibration.null_scores)]
    without = len(calibration.match.unmatched_rows)
    report = best_match_distribution(
        [
            sample("features", "SAE features", calibration.held_out, without),
            sample("ceiling", "two seeds of A", calibration.held_out, without),
            sample("null", "null: re-paired text", np.where(np.isfinite(null), null, np.nan)),
        ]
    )
    ours, theirs = curves(axes), curves(report.axes[0])
    assert list(ours) == list(theirs) == ["SAE features", "two seeds of A", "null: re-paired text"]
    for name, points in ours.items():
        assert_array_equal(points, theirs[name])
    assert np.median(ours["SAE features"][:, 0]) > np.median(ours["null: re-paired text"][:, 0]) + 0.1


def test_ceilings_of_the_pairs_are_drawn_without_others(calibration: Calibration) -> None:
    assert list(curves(plot.ecdf(calibration))) == ["SAE features", "null: re-paired text"]
    half = np.where(np.arange(calibration.held_out.size) % 2, 0.9, np.nan)
    axes = plot.ecdf(replace(calibration, ceiling_a=half, ceiling_b=np.full(half.size, np.nan)))
    drawn = curves(axes)
    assert list(drawn) == ["SAE features", "ceilings of the matched rows", "null: re-paired text"]
    assert drawn["ceilings of the matched rows"][0, 1] == pytest.approx((half.size // 2) / half.size)


def test_several_populations_have_colours_of_their_own() -> None:
    axes = plot.ecdf({"layer 1": [0.1], "layer 2": [0.2], "null": [0.0], "empty": []})
    by_name = {line.get_label().splitlines()[0]: line.get_color() for line in axes.lines}
    assert len({by_name[name] for name in ("layer 1", "layer 2", "null", "empty")}) == 4
    assert plot.ecdf([np.nan]).texts[0].get_text() == "nothing was scored"


def test_what_are_no_scores_is_refused(calibration: Calibration) -> None:
    with pytest.raises(UniversalityError, match="ceilings belong to a calibration"):
        plot.ecdf([0.1], ceilings={"c": calibration})
    with pytest.raises(UniversalityError, match="found list for 'features'"):
        plot.ecdf({"features": ["a"]})


def test_the_page_of_a_report_is_as_wide_as_its_figures() -> None:
    assert PAGE == PAGE_WIDTH

"""The figure of effects shows each pair at its two numbers, and medians of what it is compared with."""

import numpy as np
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from tests.report.planted_effects import agreement
from universality import plot
from universality.plot.effects_by_similarity import EffectPoints, draw_effects
from universality.statistics import Calibration


def test_pairs_are_drawn_at_their_numbers(calibration: Calibration) -> None:
    match = calibration.match
    found = agreement(match.rows, match.cols)
    pairs = EffectPoints.of(found, calibration)
    assert_allclose(pairs.effect_r, found.pairs["r_per_norm"])
    assert_allclose(pairs.activation_r, calibration.to_frame()["held_out"])
    assert_allclose(pairs.ceiling[:5], 0.81)  # the lower of 0.81 and 0.84
    axes = Figure().subplots()
    assert plot.effects(found, calibration, ax=axes) is axes
    both = np.isfinite(pairs.activation_r) & np.isfinite(pairs.effect_r)
    other, agree = (np.asarray(points.get_offsets()) for points in axes.collections)
    assert len(other) + len(agree) == both.sum() >= 20
    assert set(other[:, 1].round(6)) == {0.3}
    assert set(agree[:, 1].round(6)) == {0.6}
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert_allclose(lines["null: unrelated slopes"], 0.02)
    assert_allclose(lines["controls: fire alike"], 0.05)
    assert_allclose(lines["ceiling: two SAE seeds"], 0.81)


def test_no_pair_is_said(calibration: Calibration) -> None:
    axes, nothing = Figure().subplots(), np.full(3, np.nan)
    draw_effects(axes, EffectPoints(*[nothing] * 6))
    assert axes.texts[0].get_text() == "no pair was compared"

"""The curves of what shared features carry are the numbers of the result."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from tests.report.planted_effects import SEED, THRESHOLDS, carried
from universality import plot
from universality.errors import UniversalityError
from universality.plot.loss_by_threshold import LossCurve, draw_carried, loss_curves


def test_every_subset_is_a_curve_with_its_numbers() -> None:
    axes = Figure().subplots()
    assert plot.carried_loss(carried(), ax=axes) is axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names[0] == "features with a partner in B"
    assert names[-1] == "no feature (b_dec alone)"
    assert len(names) == 6
    curve, *_ = loss_curves(carried(), "B")
    assert_allclose(curve.threshold, THRESHOLDS)
    assert_allclose([curve.recovered, curve.low, curve.high], [[0.76] * 2, [0.73] * 2, [0.79] * 2])
    (shared,) = (line for line in axes.containers if line.get_label() == names[0])
    assert_allclose(shared.lines[0].get_ydata(), [0.76, 0.76])
    assert_allclose(np.asarray(shared.lines[2][0].get_segments())[:, :, 1], [[0.73, 0.79]] * 2)


def test_a_second_seed_is_a_ceiling() -> None:
    axes = plot.carried_loss(carried(), "B", ceiling=SEED)
    (ceiling,) = (line for line in axes.containers if line.get_label() == f"features with a partner in {SEED}")
    assert_allclose(ceiling.lines[0].get_ydata(), [0.97, 0.97])


def test_what_was_not_measured_is_refused_or_said() -> None:
    with pytest.raises(UniversalityError, match=r"no partners \['C'\]; measured were \['B', 'A seed 1'\]"):
        plot.carried_loss(carried(), "C")
    axes = Figure().subplots()
    nothing = np.full(1, np.nan)
    draw_carried(axes, [LossCurve("shared", "x", np.array([0.7]), nothing, nothing, nothing)])
    assert axes.texts[0].get_text() == "nothing was measured"

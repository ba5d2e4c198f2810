"""Relative decoder norms of a crosscoder."""

import numpy as np

from universality.report.figures.figure_registry import draw


def test_shared_and_exclusive_features_stand_where_they_belong() -> None:
    norm = np.asarray([0.0, 0.02, 0.5, 0.5, 0.5, 0.97])
    table = {"relative_norm": norm, "partners": norm == 0.5, "models": np.asarray(["base", "tuned"])}
    table["unpaired"] = np.asarray([0.01, 0.99])
    figure, caption = draw("crosscoder", table)
    (axes,) = figure.axes
    bars, agreed, _, control = (patch.get_data() for patch in axes.patches)
    np.testing.assert_array_equal(np.flatnonzero(control.values), [0, len(control.values) - 1])
    assert bars.values.sum() == 6
    np.testing.assert_array_equal(np.flatnonzero(agreed.values), [np.searchsorted(agreed.edges, 0.5, "right") - 1])
    assert "base alone: 2, 0% with" in caption.alt
    assert "shared: 3, 100% with" in caption.alt
    none = {**table, "relative_norm": norm[:0], "partners": norm[:0] > 0}
    assert "No living features" in draw("crosscoder", none)[1].alt

"""The histogram of relative norms counts every feature, and marks those on which the matching agrees."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_array_equal

from universality import plot
from universality.errors import UniversalityError
from universality.statistics.crosscoder_classes import CrosscoderAgreement

NORMS = np.array([0.0, 0.02, 0.5, 0.5, 0.97])


def test_norms_partners_and_the_control_are_counted_in_their_bins() -> None:
    axes = Figure().subplots()
    drawn = plot.crosscoder(NORMS, partners=NORMS == 0.5, unpaired=[0.01, 0.99], names=("base", "tuned"), ax=axes)
    assert drawn is axes
    everything, agreed, _, control = (patch.get_data().values for patch in axes.patches)
    assert_array_equal(everything[[0, 20, 38]], [2, 2, 1])
    assert_array_equal(np.flatnonzero(agreed), [20])
    assert_array_equal(np.flatnonzero(control), [0, 39])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "all features", "closest SAE features are partners", "trained on unpaired text",
    ]  # fmt: skip
    axes.figure.draw_without_rendering()
    assert axes.get_xticklabels()[0].get_text() == "0\nbase alone"


def test_an_agreement_and_its_table_know_the_partners() -> None:
    frame = pd.DataFrame({"relative_norm": NORMS, "partners": NORMS == 0.5})
    for given in (frame, CrosscoderAgreement(frame, {}, {}, 0, {})):
        axes = plot.crosscoder(given)
        assert len(axes.patches) == 3
        assert axes.patches[1].get_data().values.sum() == 2
    assert len(plot.crosscoder(NORMS).patches) == 2


def test_nothing_is_said_and_what_are_no_norms_is_refused() -> None:
    assert plot.crosscoder([]).texts[0].get_text() == "no living features"
    for given, said in (
        ({"norms": [0.5, 1.2]}, r"expected norms as relative norms \[n_features\] from 0 to 1"),
        ({"norms": np.ones((2, 3))}, r"such as crosscoder.relative_norms\[1\]; found ndarray of shape \(2, 3\)"),
        ({"norms": NORMS, "partners": [True]}, r"expected partners for each of 5 features, found shape \(1,\)"),
        ({"norms": NORMS, "unpaired": ["x"]}, "expected unpaired as relative norms"),
        ({"norms": pd.DataFrame({"norm": NORMS})}, "crosscoder: the table lacks relative_norm"),
    ):
        with pytest.raises(UniversalityError, match=said):
            plot.crosscoder(**given)  # type: ignore[arg-type]

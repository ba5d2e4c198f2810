"""The figure of transfer has a panel for effects only where they are known."""

import numpy as np
import pytest

from universality.plot.transfer_by_similarity import TransferPoints
from universality.report.figures.label_figures import describe_transfer, transfer_against_similarity


def points(effect_r: float) -> TransferPoints:
    pairing = np.array(["partner"] * 10 + ["second seed of A"] * 10)
    return TransferPoints(pairing, np.linspace(0.1, 0.9, 20), np.full(20, effect_r), np.repeat([0.2, 0.1], 10))


@pytest.mark.parametrize(("effect_r", "panels"), [(0.5, 2), (float("nan"), 1)])
def test_panels(effect_r: float, panels: int) -> None:
    figure = transfer_against_similarity(points(effect_r), "detection")
    assert len(figure.axes) == panels
    assert "detection" in figure.axes[0].get_ylabel()
    caption = describe_transfer(points(effect_r), "detection")
    assert ("Right: partners alone" in caption.text) == (panels == 2)
    assert "partners 0.20 and second SAE seeds of A 0.10" in caption.text
    assert caption.alt.startswith("Scatter plot of 20 pairs.")


def test_nothing_known() -> None:
    nothing = TransferPoints(np.array(["partner"]), *(np.array([np.nan]) for _ in range(3)))
    figure = transfer_against_similarity(nothing, "detection")
    assert figure.axes[0].texts[0].get_text() == "no pair has both numbers"
    assert "Mean loss: none" in describe_transfer(nothing, "detection").text

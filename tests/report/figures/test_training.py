"""Training curves."""

import math

import pytest

from universality.plot.training_log import curves_of
from universality.report import figures


def texts(axes_or_figure) -> str:  # type: ignore[no-untyped-def]
    """Everything written in a picture."""
    return "\n".join(item.get_text() for item in axes_or_figure.findobj(lambda a: hasattr(a, "get_text")))


LOG = [
    {"step": 0, "tokens": 100, "saes": {"A/w512-s0": {"loss": 2.0, "l0": 32.0, "explained_variance": None},
                                        "B/w512-s0": {"loss": 3.0, "dead_share": 0.0}}},
    {"step": 9, "tokens": 900, "saes": {"A/w512-s0": {"loss": 1.0, "l0": 32.0, "explained_variance": 0.5},
                                        "B/w512-s0": {"loss": math.nan, "dead_share": 0.25}}},
]  # fmt: skip


def test_training_curves_follow_the_log() -> None:
    found, unit = curves_of(LOG)
    assert unit == "tokens"
    by_name = {(c.run, c.measure): (c.x, c.y) for c in found}
    assert by_name["A/w512-s0", "loss"] == ((100.0, 900.0), (2.0, 1.0))
    assert by_name["A/w512-s0", "explained_variance"] == ((900.0,), (0.5,))
    assert by_name["B/w512-s0", "loss"] == ((100.0,), (3.0,))
    figure = figures.training_curves(found, unit)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["loss", "explained variance", "L0 (features a token)", "share of dead features"]
    assert [len(axes.lines) for axes in figure.axes] == [2, 1, 1, 1]
    assert "training tokens" in texts(figure)
    figure.draw_without_rendering()
    assert "B/w512-s0 dead_share 0.25 at 900" in figures.describe_training(found, unit).alt


@pytest.mark.parametrize(("models", "saes"), [(2, 7), (8, 2), (2, 20), (12, 4)])
def test_every_sae_s_curve_has_a_look_of_its_own(models: int, saes: int) -> None:
    runs = {f"M{m}/w{w}": {"loss": 1.0} for m in range(models) for w in range(saes)}
    (axes,) = figures.training_curves(*curves_of([{"tokens": 1, "saes": runs}, {"tokens": 2, "saes": runs}])).axes
    looks = {(line.get_color(), str(line._dash_pattern)) for line in axes.lines}
    assert len(looks) == len(axes.lines) == models * saes
    if models <= 6 and saes <= 8:  # then a model is known by its colour
        assert len({line.get_color() for line in axes.lines}) == models


def test_no_log_no_curves() -> None:
    figure = figures.training_curves(*curves_of([]))
    assert "nothing was logged" in texts(figure)
    figure.draw_without_rendering()
    assert "none" in figures.describe_training([]).alt

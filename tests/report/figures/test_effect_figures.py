"""Figures of effects are drawn from their tables, and say what they show."""

import numpy as np

from tests.report.planted_effects import SEED, agreement, carried
from universality.pipeline.reporting.effect_rows import carried_table
from universality.report.data import CarriedLoss
from universality.report.figures.figure_registry import PAIR_EFFECTS, draw


def test_loss_by_threshold_has_a_panel_a_model() -> None:
    found = CarriedLoss(carried(), "B", SEED, 0.7)
    table = carried_table([found])
    assert set(table["role"]) == {
        "shared", "unshared", "ceiling", "same mass", "same density", "same number", "none"
    }  # fmt: skip
    figure, caption = draw("carried_loss", table)
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["model A"]
    assert caption.text.endswith("A at r ≥ 0.7: shared 76%, random of equal mass 60%.")
    assert "Bars: 95% intervals" in caption.text
    without_bars = table | dict.fromkeys(("low", "high"), np.full(len(table["low"]), np.nan))
    assert "Bars" not in draw("carried_loss", without_bars)[1].text
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert (names[0], names[-1]) == ("partner in the other dictionary", "no feature (b_dec alone)")
    both = {name: np.concatenate([column, column]) for name, column in table.items()}
    both["model"] = np.repeat(["A", "B"], len(table["model"]))
    assert [panel.get_title(loc="left") for panel in draw("carried_loss", both)[0].axes] == ["model A", "model B"]
    empty = {name: column[:0] for name, column in table.items()}
    assert draw("carried_loss", empty)[1].alt.endswith("Nothing was measured.")


def test_pairs_that_fire_alike_and_do_not_act_alike_are_counted() -> None:
    pairs = agreement(np.arange(23), np.arange(23)).pairs
    table = dict.fromkeys(PAIR_EFFECTS, np.full(23, np.nan)) | {
        "activation_r": np.where(np.arange(23) < 8, 0.8, 0.2),
        "effect_r": np.where(np.arange(23) < 4, 0.1, pairs["r_per_norm"]),
        "q": pairs["q"].to_numpy(),
    }
    figure, caption = draw("effects", table)
    assert len(figure.axes[0].collections) == 2
    assert "10 pairs agree beyond chance at q ≤ 0.05" in caption.text
    assert "Of the 8 pairs that fire alike (activation r ≥ 0.7), 50% hardly do the same" in caption.text
    assert caption.text.endswith("3 pairs without both numbers are left out.")
    assert draw("effects", {name: np.zeros(0) for name in PAIR_EFFECTS})[1].alt

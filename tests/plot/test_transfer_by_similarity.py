"""The figure of transfer shows each pair at its two numbers, and means of pairs of similar r."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from universality import plot
from universality.errors import UniversalityError
from universality.labels import LabelTransfer
from universality.labels.label_transfer import SCORE_COLUMNS


def transfer(n: int = 40) -> LabelTransfer:
    """Losses of 1 - r on partners, and half as much on second seeds; the last pair has no score."""
    rows = []
    for i in range(n):
        for pairing, r, share in (("partner", 0.5 + 0.4 * i / n, 1.0), ("second seed of A", 0.6 + 0.3 * i / n, 0.5)):
            for name in ("detection", "fuzzing"):
                loss = share * (1 - r) if i < n - 1 else np.nan
                rows.append((i, pairing, i, i, name, r, 1.0, 1 - loss, 0.0, 1.0, 60, 0, loss, np.nan))
    frame = pd.DataFrame(rows, columns=list(SCORE_COLUMNS))
    effect = np.where(frame["pairing"] == "partner", 1 - 2 * frame["loss"], np.nan)
    return LabelTransfer(frame.assign(effect_r=effect), pd.DataFrame(), {"draws": 50, "level": 0.95, "seed": 0}, {})


def test_pairs_are_drawn_at_their_numbers() -> None:
    axes, found = Figure().subplots(), transfer()
    assert plot.label_transfer(found, ax=axes) is axes
    partners, seconds = (np.asarray(points.get_offsets()) for points in axes.collections)
    assert len(partners) == len(seconds) == 39
    assert_allclose(partners[:, 1], 1 - partners[:, 0])
    assert_allclose(seconds[:, 1], 0.5 * (1 - seconds[:, 0]))
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    means = np.asarray(lines["mean of partners"])
    assert len(means) == 7
    assert_allclose(means[:, 1], 1 - means[:, 0])
    assert "detection" in axes.get_ylabel()
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "partners (39)" in names


def test_effects_are_of_partners_alone(tmp_path: Path) -> None:
    axes = Figure().subplots()
    plot.label_transfer(transfer(), name="fuzzing", against="effects", ax=axes)
    (partners,) = (np.asarray(points.get_offsets()) for points in axes.collections)
    assert_allclose(partners[:, 1], (1 - partners[:, 0]) / 2)
    axes.figure.savefig(tmp_path / "f.png")


def test_no_pair_is_said() -> None:
    found = transfer()
    empty = LabelTransfer(found.scores.assign(effect_r=np.nan), found.judgements, found.settings, {})
    axes = Figure().subplots()
    plot.label_transfer(empty, against="effects", ax=axes)
    assert axes.texts[0].get_text() == "no pair has both numbers"


def test_an_unknown_score_is_an_error() -> None:
    with pytest.raises(UniversalityError, match="no score 'simulation'; there are detection, fuzzing"):
        plot.label_transfer(transfer(), name="simulation", ax=Figure().subplots())

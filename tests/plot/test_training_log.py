"""Curves of training follow the log."""

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from universality import plot
from universality.errors import FormatError, UniversalityError
from universality.plot.training_log import curves_of

LOG = [
    {"step": 0, "tokens": 100, "saes": {"A/w64-s0": {"loss": 2.0, "lr": 0.1}, "B/w64-s0": {"loss": 3.0}}},
    {"step": 9, "tokens": 9000, "saes": {"A/w64-s0": {"loss": 1.0, "lr": 0.2}, "B/w64-s0": {"loss": None}}},
]


def test_a_file_of_a_run_is_one_line_an_sae(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in LOG), encoding="utf-8")
    axes = Figure().subplots()
    assert plot.training(path, ax=axes) is axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn == {"A/w64-s0": [[100, 2.0], [9000, 1.0]], "B/w64-s0": [[100, 3.0]]}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(drawn)
    assert (axes.get_title(loc="left"), axes.get_xlabel()) == ("loss", "training tokens")
    assert plot.training(str(path), "lr").lines[0].get_ydata().tolist() == [0.1, 0.2]


def test_flat_rows_and_steps_are_read_too() -> None:
    rows = [{"step": 0, "loss": 9.0}, {"step": 50, "loss": 7.0}]
    found, unit = curves_of(rows, "A")
    assert (unit, [(c.run, c.x, c.y) for c in found]) == ("step", [("A", (0.0, 50.0), (9.0, 7.0))])
    assert plot.training(iter(rows)).get_legend() is None


def test_nothing_is_said_and_other_logs_are_refused(tmp_path: Path) -> None:
    assert plot.training([]).texts[0].get_text() == "nothing was logged"
    with pytest.raises(UniversalityError, match="training: the log has no number 'l0'; it has loss, lr"):
        plot.training(LOG, "l0")
    for row in (3, {"saes": [1]}, {"tokens": 1, "saes": {"A": 2.0}}):
        with pytest.raises(FormatError, match="row 1 of the log is not one of training: expected tokens and numbers"):
            plot.training([row])  # type: ignore[list-item]
    (tmp_path / "cut.jsonl").write_text('{"tokens": 1, "lo')
    with pytest.raises(FormatError, match="truncated, or not JSON"):
        plot.training(tmp_path / "cut.jsonl")

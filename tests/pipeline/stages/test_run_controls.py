"""Controls stand beside the study and are made once."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from run_commands import SMOKE, call_here, call_together

from universality import FeatureStore
from universality.pipeline import RunFolder
from universality.statistics import Calibration


def test_controls_stand_beside_the_study_and_are_made_once(finished: Path, tmp_path: Path) -> None:
    """By two processes, which take the controls in turn."""
    shutil.copytree(finished, tmp_path / "run")
    done = call_together(2, "controls", SMOKE, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("models with shuffled weights") == 1  # of the table
    assert done.stdout.count("controls/table") == 1
    table = pd.read_csv(tmp_path / "run" / "controls" / "controls.csv").set_index("kind")
    assert sorted(table.index) == ["ceiling"] * 3 + ["floor"] * 4 + ["study"]
    assert {"two SAE seeds of A", "two SAE seeds of B"} < set(table["control"])
    assert table[["held_out_median", "nearest_median", "n_living"]].notna().all(axis=None)
    assert (table["n_scored"] <= table["n_living"]).all()
    study = Calibration.load(RunFolder(finished).calibration("A-B.w128"))
    assert table.loc["study", "held_out_median"] == pytest.approx(study.summary().held_out_median)
    widths = {path.stem: FeatureStore.open(path).n_features for path in (tmp_path / "run" / "controls").glob("*.h5")}
    assert set(widths.values()) == {128}
    assert len(widths) == 7
    assert (tmp_path / "run" / "controls" / "controls.svg").is_file()
    assert "nothing to do" in call_here("controls", SMOKE, "--out", tmp_path / "run").stdout

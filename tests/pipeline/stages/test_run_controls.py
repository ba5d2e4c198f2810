"""Controls stand beside the study and are made once."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from run_commands import SMOKE, call, call_here, call_together, command, contents, environments

from universality import FeatureStore
from universality.pipeline import RunFolder
from universality.statistics import Calibration


@pytest.mark.slow
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


@pytest.fixture(scope="module")
def alone(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Contents of the controls that one process makes: file → hash."""
    folder = Path(shutil.copytree(finished, tmp_path_factory.mktemp("alone") / "run"))
    done = call("controls", SMOKE, "--out", folder)
    assert done.returncode == 0, done.stderr
    return contents(folder, "controls")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("killed", "resumed", "begun"),
    [(2, 3, "frozen-decoders/*"), (3, 1, "data-orders/*")],
)
def test_killed_it_ends_with_other_processes_in_the_contents_of_one(
    finished: Path, alone: dict[str, str], tmp_path: Path, killed: int, resumed: int, begun: str
) -> None:
    """Processes are killed while the SAEs of a control train, whatever the others do then."""
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    processes = [  # not by torchrun, which starts each in a session of its own, where a test cannot reach it
        subprocess.Popen(
            command("controls", SMOKE, "--out", folder),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for environment in environments(killed)
    ]
    while not list((folder / "controls").glob(begun)) and processes[0].poll() is None:
        time.sleep(0.005)
    for process in processes:
        process.kill()
    assert [process.wait() for process in processes] == [-signal.SIGKILL] * killed
    stamps = {path.name: path.read_bytes() for path in (folder / ".done").glob("controls.*.json")}
    assert len(stamps) < 4  # of the four controls the begun one is not done
    done = call_together(resumed, "controls", SMOKE, "--out", folder)
    assert done.returncode == 0, done.stderr
    assert contents(folder, "controls") == alone
    assert {name: (folder / ".done" / name).read_bytes() for name in stamps} == stamps  # what was whole is kept
    assert not list((folder / "controls").rglob("*.partial*"))

"""Every script of analyses/ runs on a run's folder, finds what was planted, and says what it needs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from universality import FeatureStore, calibrate

ANALYSES = Path(__file__).parents[2] / "analyses"


def analyse(script: str, run: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ANALYSES / script, run, *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def three(planted: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Matches of A, B and a copy of A named C."""
    folder, run = planted[1], tmp_path_factory.mktemp("three")
    (run / "matches").mkdir()
    with FeatureStore.open(folder.store("A", 24, 0)) as a, FeatureStore.open(folder.store("B", 24, 0)) as b:
        for name, x, y in (("A-B", a, b), ("A-C", a, a), ("B-C", b, a)):
            calibrate(x, y, replicates=1, bootstrap=0).save(run / "matches" / f"{name}.w24.activation.npz")
    return run


def test_scripts_are_short() -> None:
    short = ("shared_features.py", "concepts.py", "activation_against_logits.py", "three_models.py")
    assert {name: len((ANALYSES / name).read_text(encoding="utf-8").splitlines()) for name in short if
            len((ANALYSES / name).read_text(encoding="utf-8").splitlines()) >= 80} == {}  # fmt: skip


def test_three_models_find_the_planted_features_and_the_shuffle_does_not(three: Path) -> None:
    done = analyse("three_models.py", three)
    assert done.returncode == 0, done.stderr
    row = next(line.split() for line in done.stdout.splitlines() if "r >= 0.7" in line)
    numbers = [int(float(value)) for value in row[-5:]]
    assert numbers[:4] == [16, 23, 16, 16]  # sixteen shared atoms; C is A itself
    assert numbers[4] < 6


def test_two_models_are_too_few(planted: Any) -> None:
    done = analyse("three_models.py", planted[1].root)
    assert done.returncode == 1
    assert "matches of three models or more are needed, found those of A, B" in done.stderr


@pytest.mark.parametrize("script", ["shared_features.py", "activation_against_logits.py", "concepts.py"])
def test_the_others_run_on_a_run(script: str, planted: Any) -> None:
    done = analyse(script, planted[1].root, "A-B.w24")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 2


def test_checkpoints_are_followed_and_a_folder_without_a_run_is_named(planted: Any, tmp_path: Path) -> None:
    done = analyse("follow_checkpoints.py", planted[1].root)
    assert done.returncode == 0, done.stderr
    assert "A -> B" in done.stdout
    assert int(done.stdout.splitlines()[-1].split()[-1]) == 16  # the shared atoms
    assert "no config.yaml; make the run with" in analyse("follow_checkpoints.py", tmp_path).stderr


def test_a_folder_without_matches_is_named(tmp_path: Path) -> None:
    assert "no matches; make them with" in analyse("shared_features.py", tmp_path).stderr

"""Settings and fixtures of all tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is downloaded
SMOKE = Path(__file__).parents[1] / "configs" / "smoke.yaml"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of ``configs/smoke.yaml``, to read only; its stderr lies beside it."""
    folder = tmp_path_factory.mktemp("run")
    command = [sys.executable, "-m", "universality", "run", SMOKE, "--out", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("index.html")
    folder.with_suffix(".stderr").write_text(done.stderr)
    return folder

"""What is refused under torchrun is said once, and no process of ours ends in a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("saes.k=abc", "saes.k: expected an integer or a list of integers; found 'abc'"),  # before processes meet
        ("corpus.source=nowhere.txt", "nowhere.txt: no such file or folder"),  # by the first, while others wait
    ],
)
def test_a_refusal_is_said_once(tmp_path: Path, override: str, message: str) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    stage = ["-m", "universality", "collect", str(SMOKE), "--set", override, "--out", str(tmp_path / "run")]
    done = subprocess.run([*torchrun, *stage], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode != 0
    assert done.stderr.count(message) == 1
    assert "[rank" not in done.stderr  # torch's mark of a process's traceback; the launcher ends in one of its own
    assert str(Path("universality") / "cli.py") not in done.stderr

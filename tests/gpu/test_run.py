"""The command that measures a card, at toy size on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).with_name("run.sh")


def test_the_command_runs_on_a_cpu_and_writes_both_files(tmp_path: Path) -> None:
    env = os.environ | {
        "PYTHON": sys.executable,
        "CUDA_VISIBLE_DEVICES": "",
        "GPU_TESTS": "tests/gpu/test_card.py tests/similarity/engine/test_device_blocks.py",
        "GPU_BENCH_OPTIONS": "--device cpu --toy",
    }
    done = subprocess.run(["bash", RUN, tmp_path], env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "no CUDA device" in (tmp_path / "tests.txt").read_text()  # every test says why it is skipped
    assert "passed" not in (tmp_path / "tests.txt").read_text()
    record = json.loads((tmp_path / "cpu.json").read_text())
    assert {row["architecture"] for row in record["training"]} >= {"topk", "relu", "jumprelu", "batchtopk"}
    assert all(row["same_partners"] == 1 and row["largest_difference"] < 1e-9 for row in record["matching"])
    assert "matching" in (tmp_path / "cpu.txt").read_text()

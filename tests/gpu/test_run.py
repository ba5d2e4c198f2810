"""The command that measures a card, at toy size on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = Path(__file__).with_name("run.sh")
sys.path.insert(0, str(ROOT / "tests" / "bench"))

from gpu_parts.device import Device, Limits  # noqa: E402
from gpu_parts.record import Part, Record, Rows  # noqa: E402


@pytest.mark.slow
def test_the_command_runs_on_a_cpu_and_writes_both_files(tmp_path: Path) -> None:
    env = os.environ | {
        "PYTHON": sys.executable,
        "CUDA_VISIBLE_DEVICES": "",
        "GPU_TESTS": "tests/gpu/test_effects.py",
        "GPU_BENCH_OPTIONS": "--device cpu --toy",
    }
    done = subprocess.run(["bash", RUN, tmp_path], env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "needs a CUDA device" in (tmp_path / "tests.txt").read_text()  # every test says why it is skipped
    assert "passed" not in (tmp_path / "tests.txt").read_text()
    parts = json.loads((tmp_path / "cpu.json").read_text())["parts"]
    assert [name for name, part in parts.items() if "error" in part or not part["rows"]] == []
    steps = [row for name in ("main", "rates", "large-batches") for row in parts[name]["rows"]]
    assert {row["architecture"] for row in steps} == {"topk", "batchtopk", "relu", "jumprelu"}
    assert all(row["of_roofline"] > 0 and 0 < row["l0"] < 10 for row in steps)
    assert parts["curve"]["rows"][-1]["explained_variance"] > parts["curve"]["rows"][0]["explained_variance"]
    assert all(row["same_partners"] == 1 and row["largest_difference"] < 1e-9 for row in parts["matching"]["rows"])
    assert "two stores in memory" in (tmp_path / "cpu.txt").read_text()


def test_the_roofline_is_that_of_its_formula() -> None:
    limits = Limits(float32=50, tf32=300, bfloat16=800, bandwidth=4000)
    product = 2 * 4096 * 512 * 16_384 / 100e12  # three products in tf32 are faster than one in float32
    n_bytes = 48 * 16_384 * 512 + 5 * 4 * 4096 * 32 * 512
    assert limits.roofline(4096, 512, 16_384, 32, "float32") == pytest.approx(product + n_bytes / 4e12)
    assert limits.product_rate("bfloat16") == 800e12


def test_a_part_keeps_what_it_has_when_it_fails_or_its_time_is_over(tmp_path: Path) -> None:
    record = Record(Device("cpu"), tmp_path, seconds=60)

    def failing() -> Rows:
        yield {"n": 1}, "one"
        raise ValueError("no more")

    def endless() -> Rows:
        yield {"n": float("nan")}, "two"
        while True:
            sum(range(100))

    for part in (Part("a", "A", failing, 10), Part("b", "B", endless, 0.05), Part("c", "C", failing, 10, at_least=99)):
        record.run(part)
    parts = json.loads((tmp_path / "cpu.json").read_text())["parts"]
    assert parts["a"]["rows"] == [{"n": 1}]
    assert parts["a"]["error"] == "ValueError: no more"
    assert parts["b"]["rows"] == [{"n": None}]
    assert "its time" in parts["b"]["error"]
    assert "not begun" in parts["c"]["error"]
    assert record.failed == ["a"]  # the others were not at fault
    assert "one\nValueError: no more\n" in (tmp_path / "cpu.txt").read_text()

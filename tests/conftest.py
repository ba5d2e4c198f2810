"""Settings and fixtures of all tests."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from filelock import FileLock

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is downloaded
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the commands that tests start would compile every module anew
if "PYTEST_XDIST_WORKER" in os.environ:  # every core has a worker; threads that wait for each other would spin
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, "1")
SMOKE = Path(__file__).parents[1] / "configs" / "smoke.yaml"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of ``configs/smoke.yaml``, to read only; its stderr lies beside it.

    Worker processes share it: the first that asks makes it while the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "smoke" / "run"
    with FileLock(shared / "smoke.lock"):
        if not folder.with_suffix(".stderr").exists():
            command = [sys.executable, "-m", "universality", "run", SMOKE, "--out", folder]
            env = os.environ | {"CUDA_VISIBLE_DEVICES": ""}  # the same numbers on every machine
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=env)
            assert done.returncode == 0, done.stderr
            assert done.stdout.strip().endswith("index.html")
            folder.with_suffix(".stderr").write_text(done.stderr)
    return folder


@pytest.fixture
def torch_for_card(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Torch's CPU stands for every card: what a card would compute takes the same code there."""
    import torch

    device = torch.device("cpu")
    for module in ("similarity.similarity", "statistics.evaluated_vocabulary", "family.building"):
        monkeypatch.setattr(f"universality.{module}.card_of", lambda name: None if name == "cpu" else device)
    return device


@pytest.fixture
def family_graph() -> nx.DiGraph:
    """512/0 has three children, one of them with a second parent, and four grandchildren; 512/1 has none."""
    graph = nx.DiGraph()
    for level, width, features in ((0, 512, 2), (1, 1024, 3), (2, 2048, 4)):
        for feature in range(features):
            graph.add_node(
                (level, feature), width=width, feature=feature, kind="hebrew", density=0.1 / (level + feature + 1)
            )
    for parent, child, weight in (
        ((0, 0), (1, 0), 0.9), ((0, 0), (1, 1), 0.6), ((0, 0), (1, 2), 0.45),
        ((1, 0), (2, 0), 0.8), ((1, 0), (2, 1), 0.5), ((1, 1), (2, 2), 0.7), ((1, 1), (2, 1), 0.44),
        ((1, 2), (2, 3), 0.41),
    ):  # fmt: skip
        graph.add_edge(parent, child, weight=weight)
    return graph


PROCESSOR_SECONDS: list[float] = []
"""Processor seconds of each worker process, with the processes that it started."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Report a worker's processor seconds to the process that collects them."""
    seconds = sum(os.times()[:4])  # user and system time, of this process and of its finished children
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["processor_seconds"] = seconds
    elif not PROCESSOR_SECONDS:
        PROCESSOR_SECONDS.append(seconds)


@pytest.hookimpl(optionalhook=True)  # called by pytest-xdist
def pytest_testnodedown(node: Any) -> None:
    """Keep what a worker reported."""
    PROCESSOR_SECONDS.append(getattr(node, "workeroutput", {}).get("processor_seconds", 0.0))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say where the time of a long run went: wall seconds by folder, and processor seconds of all processes."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration"):
                seconds["/".join(report.nodeid.split("::")[0].split("/")[:2])] += report.duration
    if sum(seconds.values()) > 60:
        terminalreporter.section("seconds by folder")
        for folder, duration in seconds.most_common(12):
            terminalreporter.write_line(f"{duration:7.0f} s  {folder}")
        terminalreporter.write_line(f"{sum(PROCESSOR_SECONDS):7.0f} s  of processor in all")

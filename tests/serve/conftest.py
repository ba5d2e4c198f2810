"""The smoke run, opened for questions, and its application; untrained models write noise, which is no matter here."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from universality.serve.application import live_app
from universality.serve.live_run import LiveComparison, LiveRun

sys.path.append(str(Path(__file__).parents[1] / "report"))  # chromium is importable in any import mode


@pytest.fixture(scope="session")
def run(finished: Path) -> Iterator[LiveRun]:
    with LiveRun(finished) as opened:
        yield opened


@pytest.fixture(scope="session")
def live(run: LiveRun) -> LiveComparison:
    return run.comparison()


@pytest.fixture(scope="session")
def client(run: LiveRun) -> TestClient:
    """Client of the application, without its start: models are loaded by the first question."""
    return TestClient(live_app(run), base_url="http://localhost")


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may damage; large files are links to the originals."""
    return Path(shutil.copytree(finished, tmp_path / "run", copy_function=_link_or_copy))


def _link_or_copy(source: str, target: str) -> str:
    large = source.endswith((".h5", ".safetensors", ".npz"))
    Path(target).hardlink_to(source) if large else shutil.copyfile(source, target)
    return target

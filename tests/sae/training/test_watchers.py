"""Numbers reach who watches; what is not installed is said before anything is trained."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from universality.errors import ConfigError
from universality.sae import watcher

NUMBERS = {"A/w8": {"loss": 0.5, "dead_share": float("nan")}, "B/w8": {"loss": 0.25}}


@pytest.mark.parametrize("kind", ["tensorboard", "wandb"])
def test_what_is_not_installed_is_refused(kind, tmp_path: Path) -> None:
    if importlib.util.find_spec(kind):
        pytest.skip(f"{kind} is installed")
    with pytest.raises(ConfigError, match=f"saes.watch is {kind}, but the package {kind} is not installed: pip"):
        watcher(kind, tmp_path, "test")


def test_nobody_watches_by_default(tmp_path: Path) -> None:
    quiet = watcher("none", tmp_path, "test")
    quiet.write(0, NUMBERS)
    quiet.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = watcher("tensorboard", tmp_path, "test")
    for tokens in (0, 100):
        board.write(tokens, NUMBERS)
    board.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss/A/w8", "loss/B/w8"}
    assert [(e.step, e.value) for e in events.Scalars("loss/B/w8")] == [(0, 0.25), (100, 0.25)]


def test_wandb_keeps_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    board = watcher("wandb", tmp_path, "test")
    board.write(100, NUMBERS)
    board.close()
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


def test_wandb_without_a_login_is_one_message(tmp_path: Path) -> None:
    """In a process of its own: wandb remembers how it was started."""
    pytest.importorskip("wandb")
    script = (
        "import sys, pathlib; from universality.sae import watcher; watcher('wandb', pathlib.Path(sys.argv[1]), 't')"
    )
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_API_KEY"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**environment, "HOME": str(tmp_path), "NETRC": str(tmp_path / "none"), "WANDB_MODE": "online"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ConfigError: saes.watch is wandb, which reports:" in done.stderr
    assert "Or set WANDB_MODE=offline" in done.stderr

"""The command line as tests call it: in a process of its own, in two, or in this one; and what a run holds."""

import io
import json
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from universality.cli import main

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"


def command(*arguments: str | Path) -> list[str]:
    """Return the command line that runs ``universality`` with these arguments."""
    return [sys.executable, "-m", "universality", *map(str, arguments)]


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own: for what a fresh interpreter or a signal decides."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=600)


def call_two(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in two processes that share the work."""
    return call_together(2, *arguments)


def call_together(processes: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in some processes that share the work."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--standalone"]
    whole = [*torchrun, *command(*arguments)[1:]]
    return subprocess.run(whole, capture_output=True, text=True, check=False, timeout=600)


def call_here(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in this process: a new interpreter imports torch for seconds."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["universality", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    return subprocess.CompletedProcess(sys.argv, int(end.value.code or 0), out.getvalue(), err.getvalue())


def contents(folder: Path, *stages: str) -> dict[str, str]:
    """File → hash of its contents, of all that the tasks (of these stages) made."""
    files = [path for stage in stages or [""] for path in (folder / ".done").glob(f"{stage}*.json")]
    stamps = [json.loads(path.read_text()) for path in files]
    return {name: output["hash"] for stamp in stamps for name, output in stamp["outputs"].items()}


def with_models_only(finished: Path, folder: Path) -> Path:
    """Copy a run as if it had stopped before its SAEs."""
    for name in ("corpus", "models", ".done"):
        shutil.copytree(finished / name, folder / name)
    for stage in ("train-saes", "collect", "match", "families", "effects", "map", "export", "report"):
        for stamp in (folder / ".done").glob(f"{stage}*.json"):
            stamp.unlink()
    return folder

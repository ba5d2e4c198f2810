"""The command line as tests call it: in a process of its own, in two, or in this one; and what a run holds."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import pytest

from universality.cli import main

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"


def command(*arguments: str | Path) -> list[str]:
    """Return the command line that runs ``universality`` with these arguments."""
    return [sys.executable, "-m", "universality", *map(str, arguments)]


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own: for what a fresh interpreter or a signal decides."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=600)


def call_launched(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in two processes that torchrun starts."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    whole = [*torchrun, *command(*arguments)[1:]]
    return subprocess.run(whole, capture_output=True, text=True, check=False, timeout=600)


def call_together(processes: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in some processes that share the work, without torchrun, which imports torch for seconds."""
    with ExitStack() as stack:
        written = [[stack.enter_context(TemporaryFile("w+")) for _ in range(2)] for _ in range(processes)]
        started = [
            stack.enter_context(subprocess.Popen(command(*arguments), env=env, stdout=out, stderr=err, text=True))
            for env, (out, err) in zip(environments(processes), written, strict=True)
        ]
        code = max(abs(process.wait(timeout=600)) for process in started)
        out, err = ("".join(_read(files[at]) for files in written) for at in range(2))
    return subprocess.CompletedProcess(command(*arguments), code, out, err)


def environments(processes: int) -> list[dict[str, str]]:
    """Return the environment of each of some processes, in which they find each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    ranks = [str(rank) for rank in range(processes)]
    return [{**os.environ, **meeting, "RANK": rank, "LOCAL_RANK": rank} for rank in ranks]


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


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

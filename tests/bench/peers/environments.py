"""Environments of other tools under `runs/bench/`, each made from the package index when it is first asked for."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("runs/bench")


@dataclass(frozen=True)
class Tool:
    """A package of others, at the version that is measured, and what of this environment it shares."""

    package: str
    shared: tuple[str, ...]
    """Packages installed at the version that this environment has, so that both sides compute with the same."""


TOOLS = {
    "dictionary_learning": Tool("dictionary-learning==0.1.0", ("torch",)),
    "sae_lens": Tool("sae-lens==6.54.12", ("torch",)),
    "interp_lab": Tool("interp-lab==3.1.0", ("numpy", "scipy")),
}


def environment(tool: str) -> Path | None:
    """The tool's interpreter, installed if need be; None if it cannot be installed."""
    if tool == "universality":
        return Path(sys.executable)
    package, shared = TOOLS[tool].package, TOOLS[tool].shared
    folder = FOLDER / package
    python = folder / "bin" / "python"
    if (folder / "ready").exists():
        return python
    versions = [f"{name}=={importlib.metadata.version(name).split('+')[0]}" for name in shared]
    pip = [str(python), "-m", "pip"]
    commands = [
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [*pip, "install", "--quiet", *versions, package],
        # an optional part of transformers; one built for another torch breaks its import
        [*pip, "uninstall", "--quiet", "--yes", "torchvision"],
    ]
    print(f"installing {package} into {folder} …", flush=True)
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"  cannot be installed, so it is left out (is there a network?): {reason}")
            return None
    (folder / "ready").touch()
    return python

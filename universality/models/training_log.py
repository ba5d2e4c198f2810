"""The JSON-lines log of a training that may be killed and resumed."""

import json
import math
from pathlib import Path


def keep_log_until(path: Path, step: int) -> None:
    """Drop the lines that a killed run wrote after its last checkpoint, and the one that the kill tore."""
    if path.exists():
        kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) < step]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError):
        return math.inf

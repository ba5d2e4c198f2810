"""The JSON-lines log of a training that may be killed and resumed."""

import json
import math
from pathlib import Path
from typing import Any

from universality.files import replacing_text


def keep_log_until(path: Path, step: int) -> dict[int, dict[str, Any]]:
    """Drop the lines that a killed run wrote after its last checkpoint, and the one that the kill tore.

    Returns
    -------
    dict
        Those that were whole, by step.
    """
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    with replacing_text(path) as file:
        file.writelines(f"{line}\n" for line in lines if _step_of(line) < step)
    return {int(_step_of(line)): json.loads(line) for line in lines if step <= _step_of(line) < math.inf}


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError):
        return math.inf

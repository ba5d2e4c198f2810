"""Small files of a run, written whole or not at all, and even samples."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_json(path: Path, value: Any) -> None:
    """A JSON value."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """``write`` makes the file under another name; then it takes its place."""
    partial = path.with_name(path.name + ".partial")
    write(partial)
    os.replace(partial, path)


def spread_evenly(n: int, wanted: int) -> NDArray[np.int64]:
    """``wanted`` indices spread evenly over range(n); all where there are fewer."""
    return np.unique(np.linspace(0, max(n - 1, 0), min(wanted, n)).round().astype(np.int64))

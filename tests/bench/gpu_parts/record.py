"""Results that are on the disk as soon as they are measured, and parts that end when their time does."""

from __future__ import annotations

import gc
import json
import math
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from gpu_parts.device import Device

Rows = Iterator[tuple[dict[str, Any], str]]
"""Measurements, each with its line of a table."""


@dataclass(frozen=True)
class Part:
    """One table."""

    name: str
    title: str
    rows: Callable[[], Rows]
    at_most: float
    """Seconds after which the part ends with what it has."""
    at_least: float = 0.0
    """Seconds without which it is not begun."""


class TimeIsOverError(BaseException):
    """The time of a part, or of all, is over; no handler of errors within the part stops it."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise `TimeIsOverError` in this block after some seconds, at the next step of the interpreter."""

    def end(number: int, frame: FrameType | None) -> None:
        raise TimeIsOverError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Record:
    """Lines for people and a record for programs, in two files that are named for the card."""

    def __init__(self, device: Device, folder: Path, seconds: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.device, self.end = device, time.perf_counter() + seconds
        self.path = folder / re.sub(r"[^a-z0-9]+", "-", device.name.lower()).strip("-")
        self.lines: list[str] = []
        versions = {"python": sys.version.split()[0], "torch": torch.__version__, "cuda": torch.version.cuda}
        self.record: dict[str, Any] = {"card": device.name, **versions, "parts": {}}
        memory = f", {torch.cuda.get_device_properties(device.torch).total_memory / 1e9:.0f} GB" if device.cuda else ""
        self.say(f"{device.name}{memory}; torch {torch.__version__}, Python {versions['python']}")

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self.end - time.perf_counter()

    def say(self, line: str = "") -> None:
        """Print a line and keep it; what was measured so far is on the disk, should the process be killed."""
        print(line, flush=True)
        self.lines.append(line)
        self.path.with_suffix(".txt").write_text("\n".join(self.lines) + "\n", encoding="utf-8")
        text = json.dumps(_finite(self.record), indent=1, allow_nan=False) + "\n"
        self.path.with_suffix(".json").write_text(text, encoding="utf-8")

    @property
    def failed(self) -> list[str]:
        """Names of the parts that raised an error."""
        return [name for name, part in self.record["parts"].items() if "traceback" in part]

    def run(self, part: Part) -> None:
        """Measure a part; an error is recorded, and the next part goes on."""
        kept: dict[str, Any] = {"rows": []}
        self.record["parts"][part.name] = kept
        self.say(f"\n{part.title}")
        if self.left <= part.at_least:
            kept["error"] = f"not begun: {max(0, self.left):.0f} s were left"
            self.say(kept["error"])
            return
        begin = time.perf_counter()
        try:
            with within(min(part.at_most, self.left)):
                for row, line in part.rows():
                    kept["rows"].append(row)
                    self.say(line)
        except TimeIsOverError:
            kept["error"] = f"ended after {time.perf_counter() - begin:.0f} s, its time"
        except Exception as error:
            kept["error"] = f"{type(error).__name__}: {error}"
            kept["traceback"] = traceback.format_exc()
        kept["seconds"] = time.perf_counter() - begin
        self.say(kept.get("error", f"({kept['seconds']:.0f} s)"))
        gc.collect()
        if self.device.cuda:
            torch.cuda.empty_cache()


def _finite(value: Any) -> Any:
    """The same with None for NaN and infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

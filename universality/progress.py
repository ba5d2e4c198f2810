"""How far a long loop is: a bar on a terminal, and a line every half minute where there is none."""

import os
import sys
import time
from collections.abc import Iterable
from io import StringIO
from typing import Any

from tqdm import tqdm

EVERY = 30.0
"""Seconds from one line to the next."""
_open: list["_Lines"] = []
_last_line = [time.monotonic()]


def progress(
    iterable: Iterable[Any] | None = None, *, desc: str, silent: bool = False, leave: bool = True, **options: Any
) -> "tqdm[Any]":
    """A tqdm bar over ``iterable``, or one to ``update``.

    Without a terminal it says every half minute what share is done and how long the rest takes; of several processes
    (torchrun) the first alone does.

    Parameters
    ----------
    desc
        What is done, as in "collect A".
    silent
        Whether to say nothing at all.
    leave
        Whether the finished bar stays on the terminal.
    options
        Others of tqdm: total, initial, unit, unit_scale.
    """
    if silent or sys.stderr.isatty():
        return tqdm(iterable, desc=desc, disable=silent, leave=leave, **options)
    if os.environ.get("RANK", "0") != "0":
        return tqdm(iterable, desc=desc, disable=True, **options)
    return _Lines(iterable, desc=desc, mininterval=0, miniters=1, file=StringIO(), **options)


class _Lines(tqdm):  # type: ignore[type-arg]
    """A bar that is never drawn; each update may say where all open ones are, the outermost first."""

    monitor_interval = 0  # no thread that redraws

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        _open.append(self)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Nothing: there is no terminal."""

    def update(self, n: float | None = 1) -> bool | None:
        """As tqdm's, and a line where the last one is long ago."""
        done = super().update(n)
        now = time.monotonic()
        if now - _last_line[0] >= EVERY:
            _last_line[0] = now
            text = "; ".join(line for line in (bar.line() for bar in _open) if line)
            print(text, file=sys.stderr, flush=True)
        return done

    def close(self) -> None:
        """As tqdm's."""
        if self in _open:
            _open.remove(self)
        super().close()

    def line(self) -> str:
        """What is done, and the time that the rest takes at the speed so far."""
        if not self.total:
            return ""
        done = self.n - self.initial
        elapsed = self.format_dict["elapsed"]
        left = f", {tqdm.format_interval(elapsed / done * (self.total - self.n))} left" if done else ""
        return f"{self.desc.removesuffix(': ')}: {self.n / self.total:.0%} done{left}"

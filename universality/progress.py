"""Progress of long loops: a bar on a terminal or in a notebook, otherwise a line every half minute."""

import os
import sys
import time
from collections.abc import Iterable
from importlib.util import find_spec
from io import StringIO
from typing import Any

from tqdm import tqdm

EVERY = 30.0
"""Seconds between lines."""
EARLY = 0.05
"""Share of a task up to which no time left is given."""
_open: list["_Lines"] = []
_last_line = [time.monotonic()]


def progress(
    iterable: Iterable[Any] | None = None, *, desc: str, silent: bool = False, leave: bool = True, **options: Any
) -> "tqdm[Any]":
    """Report the progress of a loop over ``iterable``, or of one that calls ``update``.

    Without a terminal, a line every half minute gives the share that is done and the time left; only the first of
    several processes (torchrun) prints it.

    Parameters
    ----------
    desc
        Name of the task, such as "collect A".
    silent
        Print nothing at all.
    leave
        Leave the finished bar on the terminal.
    options
        Further options of tqdm: total, initial, unit, unit_scale.
    """
    if silent or sys.stderr.isatty():
        return tqdm(iterable, desc=desc, disable=silent, leave=leave, **options)
    if _draws_widgets():
        from tqdm.notebook import tqdm as notebook_tqdm

        return notebook_tqdm(iterable, desc=desc, disable=silent, leave=leave, **options)
    if os.environ.get("RANK", "0") != "0":
        return tqdm(iterable, desc=desc, disable=True, **options)
    # tqdm's own rate limits are off: they would skip calls of ``update``, where lines are printed.
    return _Lines(iterable, desc=desc, mininterval=0, miniters=1, file=StringIO(), **options)


def note(text: str) -> None:
    """Print a line on stderr, above the bars that are drawn there."""
    tqdm.write(text, file=sys.stderr)


def _draws_widgets() -> bool:
    """Return whether this is a notebook that draws bars, which needs ipywidgets; lines are printed otherwise."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel") and find_spec("ipywidgets") is not None


class _Lines(tqdm):  # type: ignore[type-arg]
    """A bar that is never drawn; an update prints the state of all open bars, the outermost first."""

    monitor_interval = 0  # no thread that redraws

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        _open.append(self)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draw nothing: there is no terminal."""

    def update(self, n: float | None = 1) -> bool | None:
        """Advance the bar, and print a line if the last one is old enough."""
        done = super().update(n)
        now = time.monotonic()
        if now - _last_line[0] >= EVERY:
            _last_line[0] = now
            text = "; ".join(line for line in (bar.line() for bar in _open) if line)
            print(text, file=sys.stderr, flush=True)
        return done

    def close(self) -> None:
        """Close the bar."""
        if self in _open:
            _open.remove(self)
        super().close()

    def line(self) -> str:
        """Describe the share that is done and the time left at the speed so far; empty without a total."""
        if not self.total:
            return ""
        done = self.n - self.initial
        elapsed = self.format_dict["elapsed"]
        # The first steps load and compile: an estimate from them was wrong by factors of ten and more.
        early = not done or done < EARLY * (self.total - self.initial)
        left = "" if early else f", {tqdm.format_interval(elapsed / done * (self.total - self.n))} left"
        note = f", {self.postfix}" if self.postfix else ""  # of ``set_postfix_str``
        return f"{self.desc.removesuffix(': ')}: {self.n / self.total:.0%} done{left}{note}"

"""What long loops say where nobody sees a bar."""

import re
import subprocess
import sys

import pytest

from universality.progress import progress

LOOP = """
import time
from universality import progress
progress.EVERY = 0.05
bar = progress.progress(total=8, initial=4, desc="outer")
with bar:
    for step in range(4):
        for item in progress.progress(range(3), desc="inner", leave=False):
            time.sleep(0.03)
        bar.update()
for item in progress.progress(range(3), desc="last", silent="silent" in sys.argv):
    time.sleep(0.06)
"""


def said(*arguments: str, **environment: str) -> list[str]:
    command = [sys.executable, "-c", "import sys\n" + LOOP, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment or None)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_a_line_now_and_then_says_share_and_time_left() -> None:
    lines = said()
    assert 4 <= len(lines) <= 10
    assert any(re.fullmatch(r"outer: 75% done, 00:0\d left; inner: \d+% done(, 00:0\d left)?", line) for line in lines)
    assert re.fullmatch(r"last: (67|100)% done, 00:00 left", lines[-1])


def test_no_time_left_is_given_before_it_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    with progress(total=100, initial=50, desc="late") as bar:
        bar.update(2)
        assert bar.line() == "late: 52% done"
        bar.update(1)
        assert re.fullmatch(r"late: 53% done, \d\d:\d\d left", bar.line())


def test_a_silent_loop_says_nothing() -> None:
    assert not any("last" in line for line in said("silent"))


def test_of_several_processes_the_first_speaks() -> None:
    assert said(RANK="1", PATH="/usr/bin") == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_there_is_a_bar() -> None:
    import os
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [sys.executable, "-c", "import sys\n" + LOOP]
    process = subprocess.Popen(command, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux, when the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait() == 0
    assert b"outer: 100%|" in shown
    assert b"% done" not in shown

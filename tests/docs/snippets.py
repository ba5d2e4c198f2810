"""Find and run the fenced blocks of the documentation, and update the outputs beneath them.

    python tests/docs/snippets.py docs/tutorial.md

runs a page's Python against the runs/ of this folder and writes its output into the ``text`` blocks beneath.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FORMAT = ROOT / "universality" / "features" / "storage" / "FORMAT.md"
ELSEWHERE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "analyses/README.md")]
PAGES = [*ELSEWHERE, FORMAT, *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, its first line, and the offset of its end in the page."""

    language: str
    text: str
    line: int
    end: int


def blocks(text: str, *languages: str) -> list[Block]:
    """Return the blocks of a page in these languages ("" for none)."""
    all_blocks = [
        Block(block["language"], block["text"], text.count("\n", 0, block.start()) + 2, block.end())
        for block in FENCE.finditer(text)
    ]
    return [block for block in all_blocks if block.language in languages]


def run(page: Path, block: Block, names: dict[str, Any]) -> str:
    """Run a Python block with the names of the blocks before it, and return what it printed."""
    source = "\n" * (block.line - 1) + block.text  # tracebacks name the page's own line
    code = compile(source, str(page), "exec", dont_inherit=True)  # not with this file's __future__ imports
    with redirect_stdout(io.StringIO()) as printed:
        exec(code, names)
    return printed.getvalue()


def commands(text: str) -> Iterator[list[str]]:
    """Yield the command lines of a block as words, without comments, prompts and continued line ends."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#SBATCH"):
            words = shlex.split(re.sub(r"\$\(.*?\)", "SUBSTITUTED", line), comments=True)
            if words:
                yield words


def with_outputs(page: Path) -> str:
    """Return the page with the output of each Python block in the ``text`` block that directly follows it."""
    text, names, parts, done = page.read_text(encoding="utf-8"), {"__name__": "page"}, [], 0
    for block in blocks(text, "python"):
        printed = run(page, block, names)
        parts.append(text[done : block.end])
        done = block.end
        follows = re.compile(r"\n\n```text\n.*?^```$", re.MULTILINE | re.DOTALL).match(text, done)
        if follows:
            parts.append(f"\n\n```text\n{printed}```")
            done = follows.end()
    return "".join([*parts, text[done:]])


if __name__ == "__main__":
    page, runs = Path(sys.argv[1]).resolve(), Path("runs").resolve()
    with tempfile.TemporaryDirectory() as desk, chdir(desk):
        os.symlink(runs, "runs")
        changed = with_outputs(page)
    page.write_bytes(changed.encode())  # encoded first, so a failure leaves the page unchanged

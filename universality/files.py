"""Files that are whole or not there: written beside their place, on the disk, then renamed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write to; when the block ends, the file there takes the place of ``path``.

    Nothing stays of it if the block raises, and what stood at ``path`` is untouched. Processes may race for one path;
    a kill may leave a hidden ``.NAME.PID.partial``, which nothing reads.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_text(path: str | Path) -> Iterator[TextIO]:
    """`replacing`, with the file open for UTF-8 text; lines end as they are written, on every system alike."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        yield file


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file whole or not at all, and the folder that it is in."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_bytes(content)
    return path


def write_json(path: str | Path, value: Any) -> None:
    """A JSON value, its keys sorted."""
    with replacing_text(path) as file:
        file.write(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")

"""Atomic writing of files, and reading of JSON with messages that name the file and what is wrong with it.

A file is written under a hidden name in the same folder, flushed to the disk, then renamed: readers find the old
content or the new one, never a part.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from universality.errors import FormatError
from universality.obstacles import naming_obstacles


def expand_home(path: str) -> str:
    """Expand ``~`` and ``~user`` in a path that a user gave, as a shell does."""
    return os.path.expanduser(path)


def as_path(path: str | Path) -> Path:
    """Expand ``~`` and return a Path: public functions pass every path of a caller through here."""
    return Path(expand_home(os.fspath(path)))


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to; when the block ends, that file replaces ``path``.

    If the block raises, the temporary file is deleted and ``path`` is untouched. Several processes may write the same
    path; the last one wins. A killed process may leave a hidden ``.NAME.PID.partial``, which nothing reads.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "a.txt")) as partial:
    ...         _ = partial.write_text("whole")
    ...     Path(folder, "a.txt").read_text()
    'whole'
    """
    path = as_path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as file:  # a rename may reach the disk before the content of an unflushed file does
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_text(path: str | Path) -> Iterator[TextIO]:
    """Yield a UTF-8 text file that replaces ``path`` when the block ends; line ends are written unchanged."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        yield file


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file atomically, and create its folder if there is none."""
    path = as_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_bytes(content)
    return path


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with as_path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON value atomically, with sorted keys."""
    with replacing_text(path) as file:
        file.write(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_json_value(path: str | Path) -> Any:
    """Read the JSON value of a file that this package wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FormatError
        If the file is truncated, or not JSON.
    UniversalityError
        If something else keeps the file from being read; the message says what to do.
    """
    return _read_lines(path, whole=True)[0]


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that must hold an object; otherwise like `read_json_value`."""
    value = read_json_value(path)
    if not isinstance(value, dict):
        raise FormatError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def read_json_lines(path: str | Path) -> list[Any]:
    """Read a file with one JSON value per line; otherwise like `read_json_value`."""
    return _read_lines(path, whole=False)


def _read_lines(path: str | Path, whole: bool) -> list[Any]:
    try:
        with naming_obstacles(path):
            text = as_path(path).read_text(encoding="utf-8")
        return [json.loads(part) for part in ([text] if whole else text.splitlines())]
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; run the stage that writes it") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{path}: truncated, or not JSON: {error}; delete it and run again") from None

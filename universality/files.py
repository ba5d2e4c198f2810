"""Files that are whole or not there: written beside their place, on the disk, then renamed; and read with their
faults named."""

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
    """A path that somebody gave, with ``~`` and ``~user`` as a shell reads them."""
    return os.path.expanduser(path)


def as_path(path: str | Path) -> Path:
    """`expand_home` as a path: every path of a caller comes through here, those of a configuration as it is read."""
    return Path(expand_home(os.fspath(path)))


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write to; when the block ends, the file there takes the place of ``path``.

    Nothing stays of it if the block raises, and what stood at ``path`` is untouched. Processes may race for one path;
    a kill may leave a hidden ``.NAME.PID.partial``, which nothing reads.
    """
    path = as_path(path)
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
    """A JSON value, its keys sorted."""
    with replacing_text(path) as file:
        file.write(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_json_value(path: str | Path) -> Any:
    """The JSON value in a file that this package wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FormatError
        If it is torn, or not JSON.
    UniversalityError
        If something else keeps it from being read, with what to do.
    """
    return _read_lines(path, whole=True)[0]


def read_json(path: str | Path) -> dict[str, Any]:
    """As `read_json_value`, of a file that must hold an object."""
    value = read_json_value(path)
    if not isinstance(value, dict):
        raise FormatError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def read_json_lines(path: str | Path) -> list[Any]:
    """As `read_json_value`, of a file with one value a line."""
    return _read_lines(path, whole=False)


def _read_lines(path: str | Path, whole: bool) -> list[Any]:
    try:
        with naming_obstacles(path):
            text = as_path(path).read_text(encoding="utf-8")
        return [json.loads(part) for part in ([text] if whole else text.splitlines())]
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; what made it makes it anew") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{path}: torn, or not JSON: {error}; delete it, and what made it makes it anew") from None

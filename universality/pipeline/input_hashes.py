"""Content hashes of the files that a run reads from outside its folder."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from universality.errors import FormatError
from universality.files import read_json, sha256, write_json

LARGE = 64 * 2**20
"""Bytes from which a file's hash is remembered, so that the file is not read again at every start."""


def hash_inputs(paths: Iterable[Path], memory: Path | None = None) -> dict[str, str]:
    """Return the SHA-256 of each file's content; of a folder, the files that a corpus would read.

    Files that do not exist are left out.

    Parameters
    ----------
    memory
        JSON file that keeps the hashes of large files, in a folder that exists. A remembered hash is used only while
        size, inode, and the times of the last change of content and of the file's entry are the same; the system sets
        the last of them, so a copy that carries the old time of change is read again.
    """
    from universality.corpus.folders import PassedOver, files_below

    remembered = _remembered(memory)
    before = dict(remembered)
    files: list[Path] = []
    for path in paths:
        files += files_below(path, PassedOver()) if path.is_dir() else [path]
    hashes = {str(file): _hash(file, remembered) for file in files if file.exists()}
    if memory is not None and remembered != before and memory.parent.is_dir():
        write_json(memory, remembered)
    return hashes


def hashes_by_place(paths: Iterable[Path], memory: Path | None = None) -> list[list[Any]]:
    """List [number of the path, path inside it, hash] of every file.

    Folders above a path are left out, so that a run that is copied elsewhere with its inputs stays valid.

    Parameters
    ----------
    memory
        As for `hash_inputs`.
    """
    rows: list[list[Any]] = []
    for number, path in enumerate(paths):
        for file, value in hash_inputs([path], memory).items():
            inside = Path(file).relative_to(path).as_posix() if path.is_dir() else Path(file).name
            rows.append([number, inside, value])
    return sorted(rows)


def _remembered(memory: Path | None) -> dict[str, Any]:
    try:
        return {} if memory is None else read_json(memory)
    except (FileNotFoundError, FormatError):  # missing or truncated: every file is read again
        return {}


def _hash(file: Path, remembered: dict[str, Any]) -> str:
    status = file.stat()
    if status.st_size < LARGE:
        return sha256(file)
    # The time of the entry (ctime) cannot be set by a program, so it catches an edit that restores size and mtime.
    name, seen = str(file.resolve()), [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]
    entry = remembered.get(name)
    if not isinstance(entry, dict) or entry.get("seen") != seen:
        entry = remembered[name] = {"seen": seen, "sha256": sha256(file)}
    return str(entry["sha256"])

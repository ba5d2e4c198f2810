"""Content hashes of the files that a run reads from outside its folder."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from universality.errors import FormatError
from universality.files import read_json, write_json

LARGE = 64 * 2**20
"""Bytes from which a file's hash is remembered, so that it is not read again at every start."""


def hash_inputs(paths: Iterable[Path], memory: Path | None = None) -> dict[str, str]:
    """sha256 of each file's content, of folders those that a corpus reads; what does not exist is left out.

    Parameters
    ----------
    memory
        JSON file that keeps the hashes of large files, in a folder that exists. A hash is taken from there only while
        size, inode, and the times of the last change of content and of the file's entry are the same; the system sets
        the last of them, so a copy that carries the old time of change is read again.
    """
    from universality.corpus.folders import PassedOver, files_below

    known = _remembered(memory)
    before = dict(known)
    files: list[Path] = []
    for path in paths:
        files += files_below(path, PassedOver()) if path.is_dir() else [path]
    found = {str(file): _hash(file, known) for file in files if file.exists()}
    if memory is not None and known != before and memory.parent.is_dir():
        write_json(memory, known)
    return found


def _remembered(memory: Path | None) -> dict[str, Any]:
    try:
        return {} if memory is None else read_json(memory)
    except (FileNotFoundError, FormatError):  # not there, or torn: read the files again
        return {}


def _hash(file: Path, known: dict[str, Any]) -> str:
    status = file.stat()
    if status.st_size < LARGE:
        return sha256(file)
    name, seen = str(file.resolve()), [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]
    entry = known.get(name)
    if not isinstance(entry, dict) or entry.get("seen") != seen:
        entry = known[name] = {"seen": seen, "sha256": sha256(file)}
    return str(entry["sha256"])


def sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

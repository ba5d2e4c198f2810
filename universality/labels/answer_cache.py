"""Answers on disk, by the content of what was asked: the same prompt is never paid for twice.

The file has one JSON value a line: a header, then one object an answer. Answers are appended, each with one write, so
that a killed process leaves whole lines and at most one broken line at the end, which the next process removes. The
disk is told to flush once a second: a power cut loses the answers since then.

An answer is found by the SHA-256 of the model's name, its settings, the messages and the largest number of tokens. The
address of the server is not part of it. Prompts are not kept: they are made again from the stores.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from universality.errors import ConfigError, FormatError, UniversalityError
from universality.files import as_path
from universality.labels.chat import Answer, ChatModel, Prompt, is_whole
from universality.locks import take_lock
from universality.obstacles import naming_obstacles

_HEADER = {"format": "universality answers", "version": 1}
_FLUSH = 1.0
"""Seconds between flushes to the disk, which take milliseconds each."""


def prompt_key(model: ChatModel, prompt: Prompt) -> str:
    """Return the key of a prompt to a model, in hexadecimal.

    Raises
    ------
    ConfigError
        If the model's settings cannot be written as JSON.
    """
    messages = [[message.role, message.content] for message in prompt.messages]
    asked = [model.name, dict(model.settings), messages, prompt.max_tokens]
    try:
        text = json.dumps(asked, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"settings of {model.name}: expected values that JSON can hold: {error}") from None
    return hashlib.sha256(text.encode()).hexdigest()


class AnswerCache:
    """A file of answers, open for reading and appending, locked against other processes.

    Parameters
    ----------
    path
        The file; it and its folder are created if missing.

    Raises
    ------
    UniversalityError
        If another process has the file open, or it cannot be read or written.
    FormatError
        If the file is of another kind or version, or a line before the last is corrupt.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with AnswerCache(Path(folder, "answers.jsonl")) as cache:
    ...         cache.add("00", Answer("Days of the week"))
    ...     with AnswerCache(Path(folder, "answers.jsonl")) as cache:
    ...         cache.get("00").text
    'Days of the week'
    """

    def __init__(self, path: str | Path) -> None:
        self.path = as_path(path)
        self._places: dict[bytes, tuple[int, int]] = {}  # key → offset and length: answers stay on the disk
        with naming_obstacles(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            self._lock()
            self._end = self._read()
        except BaseException:
            os.close(self._file)
            raise
        self._flushed = time.monotonic()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._places

    def get(self, key: str) -> Answer | None:
        """Return the answer under a key; None if there is none."""
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        offset, length = place
        return Answer(**json.loads(_pread(self._file, length, offset))["answer"])

    def add(self, key: str, answer: Answer) -> None:
        """Append an answer; once this returns, a killed process does not lose it.

        Raises
        ------
        UniversalityError
            If the disk is full or the file cannot be written.
        """
        # ASCII alone: half a surrogate pair, which a cut-off answer may end with, has no UTF-8.
        line = json.dumps({"key": key, "answer": asdict(answer)}).encode() + b"\n"
        self._append(line)
        self._places[bytes.fromhex(key)] = (self._end - len(line), len(line))
        if time.monotonic() - self._flushed >= _FLUSH:
            self._flush()

    def close(self) -> None:
        """Flush the answers to the disk, and let other processes open the file."""
        if self._file >= 0:
            self._flush()
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lock(self) -> None:
        if not take_lock(self._file, self.path):
            raise UniversalityError(
                f"{self.path}: another process is adding answers; wait for it, or give each its own folder"
            )

    def _append(self, line: bytes) -> None:
        with naming_obstacles(self.path):
            try:
                written = os.write(self._file, line)
                while written < len(line):  # a disk that has just become full takes a part
                    written += os.write(self._file, line[written:])
            except OSError:
                os.ftruncate(self._file, self._end)
                raise
        self._end += len(line)

    def _flush(self) -> None:
        with naming_obstacles(self.path):
            os.fsync(self._file)
        self._flushed = time.monotonic()

    def _read(self) -> int:
        """Index the file, remove a broken last line, write the header of a new file; return the end."""
        self._end = offset = 0
        with naming_obstacles(self.path), open(os.dup(self._file), "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    self._drop(offset, number)
                    break
                self._index(line, offset, number)
                offset += len(line)
        self._end = offset
        if not offset:
            self._append(json.dumps(_HEADER).encode() + b"\n")
        return self._end

    def _drop(self, offset: int, number: int) -> None:
        os.ftruncate(self._file, offset)
        warnings.warn(
            f"{self.path}: removed line {number}, the last, which a killed process has not finished",
            RuntimeWarning,
            stacklevel=5,
        )

    def _index(self, line: bytes, offset: int, number: int) -> None:
        value = _parsed(line)
        if number == 1:
            self._check_header(value)
            return
        try:
            key = bytes.fromhex(value["key"])
            whole = is_whole(Answer(**value["answer"]))
        except (TypeError, KeyError, ValueError):
            whole = False
        if not whole:
            raise FormatError(
                f"{self.path}: line {number} is not an answer; the file is corrupt or was edited: remove the line, "
                "and its prompt is asked again"
            )
        self._places[key] = (offset, len(line))

    def _check_header(self, value: Any) -> None:
        if not isinstance(value, dict) or value.get("format") != _HEADER["format"]:
            raise FormatError(f"{self.path}: expected a file of answers, found another; name another file")
        if value.get("version") != _HEADER["version"]:
            raise FormatError(
                f"{self.path}: expected version {_HEADER['version']} of {_HEADER['format']}, found "
                f"{value.get('version')!r}; use the program that wrote it, or another file"
            )


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _pread(file: int, length: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file, length, offset)
    os.lseek(file, offset, os.SEEK_SET)  # Windows; appending does not depend on the position
    return os.read(file, length)

"""Header of an activation cache (``cache.json``). Caches may come from anyone, so every value is validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from universality.checked_json import Settings
from universality.errors import FormatError
from universality.files import write_json

FORMAT, VERSION = "universality-activations", 1
Dtype = Literal["float32", "float16", "bfloat16"]
STORED: dict[str, str] = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}
"""Number format → NumPy type on disk; NumPy has no bfloat16, which is stored as its bits."""


@dataclass(frozen=True)
class Shard:
    """One file of activations."""

    file: str
    blocks: int
    tokens: int


@dataclass(frozen=True)
class File:
    """Expected size and hash of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class CacheHeader:
    """Contents of ``cache.json``; all files that it names are in the same folder.

    Raises
    ------
    FormatError
        If a file is not listed with its size, or the size of a shard contradicts its number of tokens.
    """

    model: str
    model_hash: str
    hook: str
    aliases: tuple[str, ...]
    blocks_hash: str
    dtype: str
    d_in: int
    n_tokens: int
    shards: tuple[Shard, ...]
    harvest: float
    """Tokens harvested per second when the cache was written."""
    read: float
    """Tokens read per second."""
    files: Mapping[str, File]
    blocks: str
    unembedding: str
    residual: str | None

    def __post_init__(self) -> None:
        named = [self.blocks, self.unembedding, *([self.residual] if self.residual else [])]
        for name in [*named, *(shard.file for shard in self.shards)]:
            if name not in self.files:
                raise FormatError(f"files: expected {name}, which it refers to; found {', '.join(self.files)}")
        n_tokens = sum(shard.tokens for shard in self.shards)
        if n_tokens != self.n_tokens:
            raise FormatError(f"shards: expected {self.n_tokens} tokens in all, found {n_tokens}")
        row_bytes = self.d_in * np.dtype(STORED[self.dtype]).itemsize
        for shard in self.shards:
            size = self.files[shard.file].size
            if size != shard.tokens * row_bytes:
                raise FormatError(
                    f"{shard.file}: expected {shard.tokens * row_bytes} bytes for {shard.tokens} tokens of {self.d_in} "
                    f"{self.dtype} numbers, found {size}"
                )

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, {"format": FORMAT, "version": VERSION, **asdict(self)})


def read_header(path: Path) -> CacheHeader:
    """Read and validate a header.

    Raises
    ------
    FormatError
        If the file is not JSON, is of another format or version, lacks a key, or holds an impossible value.
    """
    fields = Settings.read(path)
    stated = (fields.text("format"), fields.count("version"))
    if stated != (FORMAT, VERSION):
        raise FormatError(f"{path}: expected {FORMAT} version {VERSION}, found {stated[0]} version {stated[1]}")
    dtype = fields.text("dtype")
    if dtype not in STORED:
        raise FormatError(f"{path}: dtype: expected one of {', '.join(STORED)}, found {dtype!r}")
    files = fields.section("files")
    try:
        return CacheHeader(
            model=fields.text("model"),
            model_hash=fields.text("model_hash"),
            hook=fields.text("hook"),
            aliases=fields.texts("aliases"),
            blocks_hash=fields.text("blocks_hash"),
            dtype=dtype,
            d_in=fields.integer("d_in"),
            n_tokens=fields.count("n_tokens"),
            shards=tuple(
                Shard(s.file_name("file"), s.count("blocks"), s.count("tokens")) for s in fields.sections("shards")
            ),
            harvest=fields.number("harvest", 0.0),
            read=fields.number("read"),
            files={name: _file(files, name) for name in files.values},
            blocks=fields.file_name("blocks"),
            unembedding=fields.file_name("unembedding"),
            residual=fields.file_name("residual", None),
        )
    except FormatError as error:
        where = "" if str(path) in str(error) else f"{path}: "
        raise FormatError(f"{where}{error}") from None


def _file(files: Settings, name: str) -> File:
    Settings({"name": name}, files.where).file_name("name")
    entry = files.section(name)
    return File(entry.count("size"), entry.text("sha256"))

"""What ``cache.json`` says. A cache may come from anybody: every value is checked before it is believed."""

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
"""Number format → NumPy's, on the disk; NumPy has no bfloat16: its bits."""


@dataclass(frozen=True)
class Shard:
    """One file of activations."""

    file: str
    blocks: int
    tokens: int


@dataclass(frozen=True)
class File:
    """What a file must be."""

    size: int
    sha256: str


@dataclass(frozen=True)
class CacheHeader:
    """The whole of it; all files lie beside it.

    Raises
    ------
    FormatError
        If a file is not listed with its size, or a shard is not as large as its tokens.
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
    """Tokens harvested in a second, when it was written."""
    read: float
    """Tokens read in a second."""
    files: Mapping[str, File]
    blocks: str
    unembedding: str
    residual: str | None

    def __post_init__(self) -> None:
        named = [self.blocks, self.unembedding, *([self.residual] if self.residual else [])]
        for name in [*named, *(shard.file for shard in self.shards)]:
            if name not in self.files:
                raise FormatError(f"files: expected {name}, of which it speaks; found {', '.join(self.files)}")
        held = sum(shard.tokens for shard in self.shards)
        if held != self.n_tokens:
            raise FormatError(f"shards: expected {self.n_tokens} tokens in all, found {held}")
        row_bytes = self.d_in * np.dtype(STORED[self.dtype]).itemsize
        for shard in self.shards:
            size = self.files[shard.file].size
            if size != shard.tokens * row_bytes:
                raise FormatError(
                    f"{shard.file}: expected {shard.tokens * row_bytes} bytes for {shard.tokens} tokens of {self.d_in} "
                    f"{self.dtype} numbers, found {size}"
                )

    def write(self, path: Path) -> None:
        """As JSON."""
        write_json(path, {"format": FORMAT, "version": VERSION, **asdict(self)})


def read_header(path: Path) -> CacheHeader:
    """What a file says.

    Raises
    ------
    FormatError
        If it is not JSON, of another format or version, lacks something, or a value cannot be.
    """
    said = Settings.read(path)
    if said.text("format") != FORMAT or said.count("version") != VERSION:
        raise FormatError(
            f"{path}: expected {FORMAT} version {VERSION}, found {said.text('format')} version {said.count('version')}"
        )
    dtype = said.text("dtype")
    if dtype not in STORED:
        raise FormatError(f"{path}: dtype: expected one of {', '.join(STORED)}, found {dtype!r}")
    files = said.section("files")
    try:
        return CacheHeader(
            model=said.text("model"),
            model_hash=said.text("model_hash"),
            hook=said.text("hook"),
            aliases=said.texts("aliases"),
            blocks_hash=said.text("blocks_hash"),
            dtype=dtype,
            d_in=said.integer("d_in"),
            n_tokens=said.count("n_tokens"),
            shards=tuple(
                Shard(s.file_name("file"), s.count("blocks"), s.count("tokens")) for s in said.sections("shards")
            ),
            harvest=said.number("harvest", 0.0),
            read=said.number("read"),
            files={name: _file(files, name) for name in files.values},
            blocks=said.file_name("blocks"),
            unembedding=said.file_name("unembedding"),
            residual=said.file_name("residual", None),
        )
    except FormatError as error:
        where = "" if str(path) in str(error) else f"{path}: "
        raise FormatError(f"{where}{error}") from None


def _file(files: Settings, name: str) -> File:
    Settings({"name": name}, files.where).file_name("name")
    found = files.section(name)
    return File(found.count("size"), found.text("sha256"))

"""Activations on disk: harvested once, read by any later run, also where TransformerLens is not installed.

A cache is a folder, named by what it holds: one model (its hash) at one hook on the blocks of one corpus (their hash),
in one number format. In it

    blocks.npz                  the token blocks, in whose order the activations stand
    activations-00000.bin, …    rows [n_tokens, d_in], little-endian, nothing else; BOS and padding left out
    residual.npy                the hook's map into the residual stream, where there is one
    unembedding-….safetensors   W_U and the final gain
    cache.json                  all of the above by name, size and sha256; written last: without it there is no cache
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.activations.cache_header import STORED, CacheHeader, read_header
from universality.corpus.blocks import TokenBlocks
from universality.errors import FormatError, MismatchError
from universality.files import as_path, sha256
from universality.models.unembedding import Unembedding, vocabulary_mask

HEADER = "cache.json"


class CachedSite:
    """The activations that a cache holds; a `Site`. Made by `open_cache` or `find_cache`."""

    def __init__(self, folder: Path, header: CacheHeader, device: torch.device) -> None:
        self.folder, self.header, self.device = folder, header, device

    @property
    def name(self) -> str:
        """What the model was called when it was harvested."""
        return self.header.model

    @property
    def model_hash(self) -> str:
        """Of the model's weights."""
        return self.header.model_hash

    @property
    def hook(self) -> str:
        """The hook's canonical name."""
        return self.header.hook

    @property
    def aliases(self) -> list[str]:
        """Every name of this hook."""
        return list(self.header.aliases)

    @property
    def d_in(self) -> int:
        """Activations a token."""
        return self.header.d_in

    @property
    def dtype(self) -> str:
        """Number format on the disk."""
        return self.header.dtype

    @property
    def cost(self) -> int:
        """Reading a number is taken for a multiply-add."""
        return self.d_in

    @cached_property
    def blocks(self) -> TokenBlocks:
        """The token blocks, all splits."""
        return TokenBlocks.load(self.folder / self.header.blocks)

    def read(self, blocks: TokenBlocks) -> Tensor:
        """Activations [n_tokens, d_in] of some of the blocks.

        Raises
        ------
        MismatchError
            If the cache holds other blocks.
        """
        index = np.arange(len(blocks)) if blocks.index is None else blocks.index
        ours = self.blocks
        if len(index) and (index.max() >= len(ours) or not np.array_equal(ours.tokens[index], blocks.tokens)):
            raise MismatchError(
                f"{self.folder}: the cache holds activations of the blocks {ours.hash[:12]}, these are others; make "
                "another with `universality cache`"
            )
        rows: NDArray[Any] = np.empty((blocks.n_tokens, self.d_in), STORED[self.dtype])
        at = 0
        for block in index:
            shard = int(np.searchsorted(self._shard_starts, block, side="right")) - 1
            begin = int(self._first_row[block] - self._first_row[self._shard_starts[shard]])
            n = int(ours.length[block]) - 1
            rows[at : at + n] = self._shards[shard][begin : begin + n]
            at += n
        return _to_float32(rows, self.dtype).to(self.device)

    def residual(self, decoder: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """What decoder rows write into the residual stream."""
        name = self.header.residual
        return None if name is None else decoder @ np.load(self.folder / name, allow_pickle=False)

    def unembedding(self, train: TokenBlocks, min_count: int) -> Unembedding:
        """What logit weights need."""
        whole = Unembedding.load(self.folder / self.header.unembedding)
        mask = vocabulary_mask(train, whole.d_vocab, min_count)
        return Unembedding(whole.W_U, whole.gain, mask, whole.center_d_model)

    def spliced_loss(self, blocks: TokenBlocks, replace: Callable[[Tensor], Tensor]) -> float:
        """NaN: that takes the model."""
        return math.nan

    def verify(self) -> None:
        """Read every file and compare it with its hash.

        Raises
        ------
        FormatError
            Naming the first that differs.
        """
        for file, recorded in self.header.files.items():
            if sha256(self.folder / file) != recorded.sha256:
                raise FormatError(f"{self.folder / file}: not what was written; delete the cache, and make it again")

    @cached_property
    def _first_row(self) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.blocks.length - 1, dtype=np.int64)])

    @cached_property
    def _shard_starts(self) -> NDArray[np.int64]:
        """First block of each shard."""
        sizes = [shard.blocks for shard in self.header.shards]
        return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])[:-1]

    @cached_property
    def _shards(self) -> list[NDArray[Any]]:
        dtype = STORED[self.dtype]
        return [
            np.memmap(self.folder / shard.file, dtype, mode="r", shape=(shard.tokens, self.d_in))
            for shard in self.header.shards
        ]


def open_cache(folder: str | Path, device: torch.device | str = "cpu") -> CachedSite:
    """Open one cache; its files' sizes are checked, their contents by `CachedSite.verify`.

    Parameters
    ----------
    folder
        Of this one cache, the one with ``cache.json``.
    device
        Where activations are to be.

    Raises
    ------
    FormatError
        If the cache is unfinished, torn, foreign or of another version.
    """
    folder = as_path(folder)
    if not (folder / HEADER).is_file():
        raise FormatError(
            f"{folder}: no complete cache of activations: {HEADER} is missing; `universality cache` goes on with it"
        )
    header = read_header(folder / HEADER)
    for name, recorded in header.files.items():
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size != recorded.size:
            is_size = "is missing" if size is None else f"has {size} bytes"
            raise FormatError(
                f"{folder / name}: {is_size}, expected {recorded.size}: a torn cache; delete {HEADER} in it, and "
                "`universality cache` makes again what is not whole"
            )
    return CachedSite(folder, header, torch.device(device))


def find_cache(
    root: str | Path, *, model_hash: str, hook: str, blocks_hash: str, dtype: str, device: torch.device | str = "cpu"
) -> CachedSite | None:
    """The cache in ``root`` of this model, hook (by any of its names), corpus and number format; None without one."""
    for path in sorted(as_path(root).glob(f"*/{HEADER}")):
        site = open_cache(path.parent, device)
        held = (site.model_hash, site.header.blocks_hash, site.dtype)
        if held == (model_hash, blocks_hash, dtype) and hook in site.aliases:
            return site
    return None


def _to_float32(rows: NDArray[Any], dtype: str) -> Tensor:
    if dtype == "bfloat16":
        return torch.from_numpy((rows.astype(np.uint32) << 16).view(np.float32))
    return torch.from_numpy(rows.astype(np.float32, copy=False))

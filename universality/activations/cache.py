"""Activation caches on disk: harvested once and read by later runs, also on machines without TransformerLens.

A cache is a folder whose name is a hash of its contents' identity: one model (by hash) at one hook on the blocks of one
corpus (by hash), in one number format. It holds

    blocks.npz                  token blocks, which define the order of the activations
    activations-00000.bin, …    rows [n_tokens, d_in], little-endian and without header; BOS and padding are omitted
    residual.npy                linear map from the hook into the residual stream, if there is one
    unembedding-….safetensors   W_U and the final gain
    cache.json                  name, size and sha256 of all files above; written last, so that it marks completeness
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
from universality.activations.card_copies import copied_to, page_locked
from universality.activations.site import Site
from universality.corpus.blocks import TokenBlocks
from universality.errors import FormatError, MismatchError
from universality.files import as_path, sha256
from universality.models.unembedding import Unembedding, vocabulary_mask

HEADER = "cache.json"
"""Name of the file that marks a cache as complete."""


class CachedSite:
    """Site whose activations come from a cache; opened by `open_cache` or `find_cache`."""

    def __init__(self, folder: Path, header: CacheHeader, device: torch.device) -> None:
        self.folder, self.header, self.device = folder, header, device

    @property
    def name(self) -> str:
        """Name of the model when it was harvested."""
        return self.header.model

    @property
    def model_hash(self) -> str:
        """Hash of the model's weights."""
        return self.header.model_hash

    @property
    def hook(self) -> str:
        """Canonical name of the hook."""
        return self.header.hook

    @property
    def aliases(self) -> list[str]:
        """All names of the hook."""
        return list(self.header.aliases)

    @property
    def d_in(self) -> int:
        """Number of activations per token."""
        return self.header.d_in

    @property
    def dtype(self) -> str:
        """Number format on disk."""
        return self.header.dtype

    @property
    def cost(self) -> int:
        """Cost per token, counting the reading of a number as one multiply-add."""
        return self.d_in

    @cached_property
    def blocks(self) -> TokenBlocks:
        """Token blocks of all splits."""
        return TokenBlocks.load(self.folder / self.header.blocks)

    def read(self, blocks: TokenBlocks) -> Tensor:
        """Read the activations [n_tokens, d_in] of some blocks, float32.

        Raises
        ------
        MismatchError
            If these are not blocks of the cached corpus.
        """
        index = np.arange(len(blocks)) if blocks.index is None else blocks.index
        ours = self.blocks
        # Tokens are compared, not only indices: blocks of another corpus would read other activations silently.
        if len(index) and (index.max() >= len(ours) or not np.array_equal(ours.tokens[index], blocks.tokens)):
            raise MismatchError(
                f"{self.folder}: the cache holds activations of the blocks {ours.hash[:12]}, these are others; write "
                "another cache with `universality cache`"
            )
        stored = page_locked((blocks.n_tokens, self.d_in), getattr(torch, self.dtype), self.device)
        rows: NDArray[Any] = (stored.view(torch.int16) if self.dtype == "bfloat16" else stored).numpy()
        at = 0
        for block in index:
            shard = int(np.searchsorted(self._shard_starts, block, side="right")) - 1
            begin = int(self._first_row[block] - self._first_row[self._shard_starts[shard]])
            n = int(ours.length[block]) - 1
            rows[at : at + n] = self._shards[shard][begin : begin + n].view(rows.dtype)
            at += n
        return copied_to(self.device, stored).float()  # widened there, so that fewer bytes travel

    def residual(self, decoder: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Map decoder rows to the directions that they write into the residual stream."""
        name = self.header.residual
        return None if name is None else decoder @ np.load(self.folder / name, allow_pickle=False)

    def unembedding(self, train: TokenBlocks, min_count: int) -> Unembedding:
        """Return the unembedding, with the vocabulary that counts in ``train``."""
        whole = Unembedding.load(self.folder / self.header.unembedding)
        mask = vocabulary_mask(train, whole.d_vocab, min_count)
        return Unembedding(whole.W_U, whole.gain, mask, whole.center_d_model)

    def spliced_loss(
        self, blocks: TokenBlocks, replace: Callable[[Tensor], Tensor], reads: Site | None = None
    ) -> float:
        """Return NaN: the loss needs the model itself."""
        return math.nan

    def verify(self) -> None:
        """Read every file and compare its hash with the recorded one.

        Raises
        ------
        FormatError
            If a file differs; names the first one.
        """
        for file, recorded in self.header.files.items():
            if sha256(self.folder / file) != recorded.sha256:
                raise FormatError(f"{self.folder / file}: not what was written; delete the cache, and write it again")

    @cached_property
    def _first_row(self) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.blocks.length - 1, dtype=np.int64)])

    @cached_property
    def _shard_starts(self) -> NDArray[np.int64]:
        """Number of the first block of each shard."""
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
    """Open a cache and check the sizes of its files; `CachedSite.verify` checks their contents.

    Parameters
    ----------
    folder
        Folder of this cache, which holds ``cache.json``.
    device
        Device to which activations are moved.

    Raises
    ------
    FormatError
        If the cache is incomplete, truncated, or of another format or version.
    """
    folder = as_path(folder)
    if not (folder / HEADER).is_file():
        raise FormatError(
            f"{folder}: no complete cache of activations: {HEADER} is missing; `universality cache` resumes it"
        )
    header = read_header(folder / HEADER)
    for name, recorded in header.files.items():
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size != recorded.size:
            is_size = "is missing" if size is None else f"has {size} bytes"
            raise FormatError(
                f"{folder / name}: {is_size}, expected {recorded.size}: the cache is truncated; delete {HEADER} in "
                "it, and `universality cache` writes incomplete files again"
            )
    return CachedSite(folder, header, torch.device(device))


def find_cache(
    root: str | Path, *, model_hash: str, hook: str, blocks_hash: str, dtype: str, device: torch.device | str = "cpu"
) -> CachedSite | None:
    """Find the cache of this model, hook (by any of its names), corpus and number format; None if there is none."""
    for path in sorted(as_path(root).glob(f"*/{HEADER}")):
        site = open_cache(path.parent, device)
        identity = (site.model_hash, site.header.blocks_hash, site.dtype)
        if identity == (model_hash, blocks_hash, dtype) and hook in site.aliases:
            return site
    return None

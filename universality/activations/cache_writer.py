"""Writing of activation caches; `universality.activations.cache` describes their contents."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.activations.cache import HEADER, CachedSite, open_cache
from universality.activations.cache_header import STORED, CacheHeader, Dtype, File, Shard
from universality.activations.site import BATCH_BLOCKS
from universality.corpus.blocks import TokenBlocks
from universality.errors import MismatchError, ModelError, UniversalityError
from universality.files import as_path, replacing, sha256
from universality.progress import progress

if TYPE_CHECKING:
    from universality.activations.model_site import ModelSite

SHARD_BYTES = 256 * 2**20
"""Size of a file of activations: an interrupted harvest repeats at most one of them."""


def write_cache(
    root: str | Path, site: ModelSite, blocks: TokenBlocks, dtype: Dtype = "float32", say: Callable[[str], None] = print
) -> CachedSite:
    """Harvest all blocks into a cache below ``root``; resume an interrupted cache, and open a complete one.

    Parameters
    ----------
    root
        Folder of caches; this one gets a subfolder.
    site
        The model at its hook.
    blocks
        The whole corpus with all splits; `CachedSite.read` reads selections of it.
    dtype
        Number format on disk. ``float32`` is exact; the others round, and halve size and reading time.
    say
        Receives one line that compares the speeds of reading and harvesting, and says whether the cache pays.

    Raises
    ------
    MismatchError
        If the blocks are a selection.
    UniversalityError
        If the disk has too little space.
    ModelError
        If an activation is not finite in ``dtype``.
    """
    if blocks.index is not None:
        raise MismatchError("a cache holds a whole corpus, found a selection of its blocks; give the blocks as loaded")
    identity = {"model": site.model_hash, "hook": site.hook, "blocks": blocks.hash, "dtype": dtype}
    folder = as_path(root) / hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    if (folder / HEADER).exists():
        return open_cache(folder, site.device)
    row_bytes = site.d_in * np.dtype(STORED[dtype]).itemsize
    folder.mkdir(parents=True, exist_ok=True)
    shards = _cut(blocks, row_bytes)
    missing = [shard for shard in shards if not _has_size(folder / shard.file, shard.n_tokens * row_bytes)]
    _check_room(folder, sum(shard.n_tokens for shard in missing) * row_bytes)
    harvested = _write_shards(folder, missing, site, blocks, dtype)
    measured = {"harvest": harvested, "read": _read_speed(folder / shards[0].file, row_bytes)}
    blocks_file, unembedding, residual = _write_rest(folder, site, blocks)
    names = [*(shard.file for shard in shards), blocks_file, unembedding, *([residual] if residual else [])]
    header = CacheHeader(
        model=site.name,
        model_hash=site.model_hash,
        hook=site.hook,
        aliases=tuple(site.aliases),
        blocks_hash=blocks.hash,
        dtype=dtype,
        d_in=site.d_in,
        n_tokens=blocks.n_tokens,
        shards=tuple(Shard(s.file, s.stop - s.start, s.n_tokens) for s in shards),
        **measured,
        files={n: File((folder / n).stat().st_size, sha256(folder / n)) for n in names},
        blocks=blocks_file,
        unembedding=unembedding,
        residual=residual,
    )
    header.write(folder / HEADER)
    say(f"activations of {site.name}: {folder}, {blocks.n_tokens * row_bytes / 1e9:.2f} GB; {pays(**measured)}")
    return open_cache(folder, site.device)


def pays(harvest: float, read: float) -> str:
    """Say whether reading is worth the disk space; both speeds in tokens per second."""
    speeds = f"reading {read:,.0f} tokens/s, harvesting {harvest:,.0f}"
    if read > 1.5 * harvest > 0:  # a smaller gain is within the noise of both measurements
        return f"{speeds}: each further pass is {read / harvest:.1f} times as fast"
    return (
        f"{speeds}: a cache does not pay here; leave activations.cache out, unless a machine without the model is to "
        "train from it"
    )


@dataclass(frozen=True)
class _Piece:
    file: str
    start: int
    stop: int
    n_tokens: int


def _cut(blocks: TokenBlocks, row_bytes: int) -> list[_Piece]:
    """Divide the blocks into files of about ``SHARD_BYTES``."""
    ends = np.concatenate([[0], np.cumsum(blocks.length - 1, dtype=np.int64)])
    shards: list[_Piece] = []
    start = 0
    while start < len(blocks):
        full = int(np.searchsorted(ends, ends[start] + SHARD_BYTES // row_bytes, side="right")) - 1
        stop = max(start + 1, full)
        shards.append(_Piece(f"activations-{len(shards):05d}.bin", start, stop, int(ends[stop] - ends[start])))
        start = stop
    return shards


def _write_shards(folder: Path, shards: list[_Piece], site: ModelSite, blocks: TokenBlocks, dtype: Dtype) -> float:
    """Harvest these shards, each written atomically; return the tokens harvested per second."""
    seconds, total = 0.0, sum(shard.n_tokens for shard in shards)
    with progress(total=total, desc=f"cache {site.name}", unit="token", unit_scale=True) as bar:
        for shard in shards:
            with replacing(folder / shard.file) as partial, partial.open("wb") as file:
                for start in range(shard.start, shard.stop, BATCH_BLOCKS):
                    part = blocks.take(np.arange(start, min(start + BATCH_BLOCKS, shard.stop)))
                    begin = time.perf_counter()
                    rows = _from_float32(site.read(part), dtype, site)
                    seconds += time.perf_counter() - begin
                    file.write(rows.data.cast("B"))
                    bar.update(len(rows))
    return round(total / seconds) if seconds else 0.0


def _write_rest(folder: Path, site: ModelSite, blocks: TokenBlocks) -> tuple[str, str, str | None]:
    """Write blocks, W_U and the map into the residual stream, which later stages need; return the file names."""
    blocks.save(folder / "blocks.npz")
    whole = site.unembedding(blocks, 0)
    whole.save(folder / whole.file_name)
    # Rows of the identity pass through the site's map, which gives its matrix.
    onto_residual = site.residual(np.eye(site.d_in, dtype=np.float32))
    if onto_residual is not None:
        with replacing(folder / "residual.npy") as partial, partial.open("wb") as file:
            np.save(file, onto_residual, allow_pickle=False)
    return "blocks.npz", whole.file_name, None if onto_residual is None else "residual.npy"


def _read_speed(path: Path, row_bytes: int) -> float:
    """Measure the tokens read per second, from disk where the system can drop the file from its page cache."""
    with path.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        begin = time.perf_counter()
        n_bytes = sum(len(chunk) for chunk in iter(lambda: file.read(1 << 22), b""))
        return round(n_bytes / row_bytes / (time.perf_counter() - begin))


def _check_room(folder: Path, wanted: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise UniversalityError(
            f"{folder}: the cache needs {wanted / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB left; free some, give "
            "another folder, or set activations.dtype to float16 or bfloat16"
        )


def _from_float32(acts: Tensor, dtype: Dtype, site: ModelSite) -> NDArray[Any]:
    rows = acts.to(getattr(torch, dtype)).cpu()
    if not bool(torch.isfinite(rows).all()):
        raise ModelError(
            f"model {site.name!r}: activations at {site.hook} are NaN, infinite, or too large for {dtype} (largest "
            f"{float(acts.abs().max()):.3g}); check the hook, or set activations.dtype to float32"
        )
    array = rows.view(torch.int16).numpy() if dtype == "bfloat16" else rows.numpy()
    return np.ascontiguousarray(array)


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size

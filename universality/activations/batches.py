"""Batches for SAE training: a bounded shuffle buffer over the blocks, refilled while it is dealt out."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.activations.site import Site, harvest
from universality.activations.torch_threads import keep_threads
from universality.corpus.blocks import TokenBlocks
from universality.errors import CorpusError


def shuffled_batches(
    sites: Mapping[str, Site],
    blocks: TokenBlocks,
    *,
    batch_size: int,
    seed: int,
    buffer_tokens: int = 131_072,
    start: int = 0,
    stop: int | None = None,
) -> Generator[dict[str, Tensor], None, None]:
    """Batches of activations for SAE training; the same tokens for all models.

    Blocks are drawn in an order shuffled anew each epoch; about ``buffer_tokens`` activations are harvested from
    them and dealt out in random order, and what is left of a buffer below one batch is dropped. Everything follows
    from ``seed``, so ``start`` goes on where an interrupted run stopped, to the byte.

    A thread harvests the next buffer while this one is trained on, into the rows that were dealt out already: so a
    model's memory is one buffer and ``BATCH_BLOCKS`` blocks on the way there,
    4 · d_in · (buffer_tokens + n_ctx + 64 · n_ctx) bytes at most.

    Parameters
    ----------
    sites
        Models at their hooks, by name.
    blocks
        What they read: those of the split "train".
    batch_size
        Tokens a batch.
    start
        Batches to skip without harvesting the buffers before.
    stop
        Number of the batch before which to end; endless by default.

    Yields
    ------
    dict of Tensor [batch_size, d_in]
        By name, in the same order of tokens.

    Raises
    ------
    CorpusError
        If there are no blocks.
    """
    if blocks.n_tokens == 0:
        raise CorpusError("no token blocks to take activations of: lower corpus.held_out or add documents")
    buffer_tokens = max(buffer_tokens, batch_size)
    fills = _fills(blocks, buffer_tokens, seed, batch_size, start, stop)
    prefetch = _Prefetch(sites, fills, buffer_tokens + blocks.n_ctx)
    try:
        for fill, slots in prefetch:
            order = slots[torch.from_numpy(np.random.default_rng([seed, 1, fill.number]).permutation(len(slots)))]
            prefetch.release(order[: fill.first * batch_size])
            for batch in range(fill.first, fill.last):
                yield prefetch.deal(order[batch * batch_size : (batch + 1) * batch_size])
            prefetch.release(order[fill.last * batch_size :])
    finally:
        prefetch.close()


@dataclass(frozen=True)
class _Fill:
    """One buffer: its number, its blocks, and which of its batches are dealt (``last`` is not)."""

    number: int
    blocks: TokenBlocks
    first: int
    last: int


def _fills(
    blocks: TokenBlocks, buffer_tokens: int, seed: int, batch_size: int, start: int, stop: int | None
) -> Iterator[_Fill]:
    """The buffers that hold the batches ``start`` up to ``stop``."""
    before = 0
    for number, part in enumerate(_buffers(blocks, buffer_tokens, seed)):
        if stop is not None and before >= stop:
            return
        n_batches = part.n_tokens // batch_size
        first, last = max(0, start - before), n_batches if stop is None else min(n_batches, stop - before)
        if first < last:
            yield _Fill(number, part, first, last)
        before += n_batches


class _Prefetch:
    """Buffers of activations, filled by a thread into whatever rows are free.

    Iteration gives, fill after fill, also the rows in which its activations lie, in the order of its tokens.
    """

    def __init__(self, sites: Mapping[str, Site], fills: Iterator[_Fill], capacity: int) -> None:
        self._sites, self._fills = sites, fills
        self._rows = {name: torch.empty((capacity, site.d_in), device=site.device) for name, site in sites.items()}
        self._free: SimpleQueue[Tensor | None] = SimpleQueue()
        self._ready: SimpleQueue[tuple[_Fill, Tensor] | BaseException | None] = SimpleQueue()
        self._closed = False
        self.release(torch.arange(capacity))
        self._thread = threading.Thread(target=self._fill_all, args=(_threads(),), name="harvest", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[_Fill, Tensor]]:
        while (found := self._ready.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found

    def deal(self, slots: Tensor) -> dict[str, Tensor]:
        """Copies of these rows, which are free from now on."""
        batch = {name: rows[slots.to(rows.device)] for name, rows in self._rows.items()}
        self.release(slots)
        return batch

    def release(self, slots: Tensor) -> None:
        """Let these rows be overwritten."""
        self._free.put(slots)

    def close(self) -> None:
        """End the thread; it finishes the blocks in its hands."""
        self._closed = True
        self._free.put(None)
        self._thread.join()

    def _fill_all(self, threads: int) -> None:
        keep_threads(threads)
        devices = [site.device for site in self._sites.values()]
        free = torch.empty(0, dtype=torch.int64)
        try:
            if devices and devices[0].type == "cuda" and devices[0].index is not None:  # "cuda" is the current one
                torch.cuda.set_device(devices[0])
            for fill in self._fills:
                filled = []
                for rows, activations in harvest(self._sites, fill.blocks):
                    while len(free) < len(rows) or self._closed:
                        released = self._free.get()
                        if released is None or self._closed:
                            return
                        free = torch.cat([free, released])
                    here, free = free[: len(rows)], free[len(rows) :]
                    for name, acts in activations.items():
                        self._rows[name][here.to(acts.device)] = acts
                    filled.append(here)
                self._ready.put((fill, torch.cat(filled)))
            self._ready.put(None)
        except BaseException as error:  # raised where the batches are asked for
            self._ready.put(error)


def _threads() -> int:
    """Cores for the harvest: training has the others. Of the machine alone, since sums may be cut by it."""
    return max(1, torch.get_num_threads() // 4)


def _buffers(blocks: TokenBlocks, buffer_tokens: int, seed: int) -> Iterator[TokenBlocks]:
    """Consecutive stretches of the shuffled blocks, across epochs, each of at least ``buffer_tokens`` tokens."""
    pending: list[NDArray[np.int64]] = []
    held, epoch = 0, 0
    while True:
        order = np.random.default_rng([seed, 0, epoch]).permutation(len(blocks))
        counts = np.cumsum(blocks.length[order] - 1)
        begin, before = 0, 0
        while (end := int(np.searchsorted(counts, before + buffer_tokens - held)) + 1) <= len(order):
            yield blocks.take(np.concatenate([*pending, order[begin:end]]))
            begin, before, pending, held = end, int(counts[end - 1]), [], 0
        pending.append(order[begin:])
        held += int(counts[-1]) - before
        epoch += 1

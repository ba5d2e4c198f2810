"""Batches for SAE training from a bounded shuffle buffer that is refilled while it is read."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.activations.card_copies import copied_to
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
    """Yield batches of activations for SAE training, on the same tokens for all models.

    Blocks are shuffled in each epoch. About ``buffer_tokens`` activations are harvested from consecutive blocks and
    dealt out in random order; a remainder below one batch is dropped. All orders follow from ``seed``, so ``start``
    resumes an interrupted run with identical batches.

    A thread harvests the next buffer while this one is trained on, into rows that were already dealt out. The memory
    for a model is therefore one buffer and ``BATCH_BLOCKS`` blocks in flight, at most
    4 · d_in · (buffer_tokens + n_ctx + 64 · n_ctx) bytes.

    Parameters
    ----------
    sites
        Models at their hooks, by name.
    blocks
        Token blocks of the split "train".
    batch_size
        Tokens per batch.
    start
        Number of batches to skip; buffers before them are not harvested.
    stop
        Number of the batch before which to end; endless by default.

    Yields
    ------
    dict of Tensor [batch_size, d_in]
        Activations by model name, in the same order of tokens.

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
            # The permutation covers the whole buffer even if only some of its batches are wanted: a resumed run deals
            # the same batches as one that was never interrupted.
            order = slots[torch.from_numpy(np.random.default_rng([seed, 1, fill.number]).permutation(len(slots)))]
            prefetch.release(order[: fill.first * batch_size])
            for batch in range(fill.first, fill.last):
                yield prefetch.deal(order[batch * batch_size : (batch + 1) * batch_size])
            prefetch.release(order[fill.last * batch_size :])
    finally:
        prefetch.close()


@dataclass(frozen=True)
class _Fill:
    """One buffer: its number, its blocks, and the range of batches to deal (``last`` exclusive)."""

    number: int
    blocks: TokenBlocks
    first: int
    last: int


def _fills(
    blocks: TokenBlocks, buffer_tokens: int, seed: int, batch_size: int, start: int, stop: int | None
) -> Iterator[_Fill]:
    """Yield the buffers that hold batches ``start`` to ``stop``."""
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
    """Buffers of activations that a thread fills into free rows of one array per model.

    Iteration yields each fill with the rows that hold its activations, in the order of its tokens. Two queues carry row
    numbers between the threads: a row belongs to the filling thread between `release` and the next fill, and to the
    consumer otherwise, so no lock guards the rows themselves.
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
        while (ready := self._ready.get()) is not None:
            if isinstance(ready, BaseException):
                raise ready
            yield ready

    def deal(self, slots: Tensor) -> dict[str, Tensor]:
        """Return copies of these rows, and release the rows."""
        batch = {name: rows.index_select(0, copied_to(rows.device, slots)) for name, rows in self._rows.items()}
        self.release(slots)
        return batch

    def release(self, slots: Tensor) -> None:
        """Allow these rows to be overwritten."""
        self._free.put(slots)

    def close(self) -> None:
        """End the thread, after the blocks that it is harvesting."""
        self._closed = True
        # The flag alone would not wake a thread that waits for free rows.
        self._free.put(None)
        self._thread.join()

    def _fill_all(self, threads: int) -> None:
        keep_threads(threads)
        devices = [rows.device for rows in self._rows.values()]
        free = torch.empty(0, dtype=torch.int64)
        try:
            if devices and devices[0].type == "cuda":  # a thread begins with card 0, which need not be its maker's
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
                        self._rows[name].index_copy_(0, copied_to(acts.device, here), acts)
                    filled.append(here)
                self._ready.put((fill, torch.cat(filled)))
            self._ready.put(None)
        except BaseException as error:  # raised again in the consumer's thread
            self._ready.put(error)


def _threads() -> int:
    """Return the number of cores for the harvest; it depends on the machine alone, as the cutting of sums may."""
    return max(1, torch.get_num_threads() // 4)


def _buffers(blocks: TokenBlocks, buffer_tokens: int, seed: int) -> Iterator[TokenBlocks]:
    """Yield consecutive runs of the shuffled blocks, across epochs, with at least ``buffer_tokens`` tokens each."""
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

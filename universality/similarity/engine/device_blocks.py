"""Blocks and best partners computed on a torch device (CUDA), a tile of rows at a time.

Only lists of best partners leave the device. They are those of the CPU, equal keys included, where scores agree. When
memory runs out the tile is halved; where not even one row has room, the caller computes on the CPU.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.progress import progress
from universality.similarity.engine.block_source import Best
from universality.similarity.engine.device_memory import attempted, over_tiles, pairs_in_tile, sent
from universality.similarity.engine.device_sums import Stripes


class OnDevice(Protocol):
    """A source of scores with a device."""

    @property
    def name(self) -> str:
        """The measure."""

    @property
    def device(self) -> torch.device | None:
        """Where to compute."""

    @property
    def memory_budget(self) -> int:
        """Bytes of a tile where the device is torch's CPU."""

    @property
    def stripes(self) -> Stripes:
        """Rows of scores on the device."""


def best(source: OnDevice, k: int, offset: FloatArray, threshold: FloatArray, both: bool) -> _Lists | None:
    """Find the best partners as `universality.similarity.engine.best_partners.best_of_blocks` does.

    None, with a warning, where the device has no room.
    """
    return attempted(f"{source.name} similarity", source.device, lambda: _best(source, k, offset, threshold, both))


def block(source: OnDevice, rows: IntArray) -> FloatArray | None:
    """Scores [n_rows, n_cols] of distinct rows; None, with a warning, where the device has no room."""
    return attempted(f"{source.name} similarity", source.device, lambda: _block(source, rows))


_Lists = tuple[Best, Best | None]


def _best(source: OnDevice, k: int, offset: FloatArray, threshold: FloatArray, both: bool) -> _Lists:
    stripes = source.stripes
    (n_rows, n_cols), device = stripes.shape, stripes.device
    wanted_rows, by_row = np.flatnonzero(threshold < np.inf), Best.empty(n_rows, k)
    by_col = _Columns(k, n_cols, device) if both else None
    price = sent(offset, device)

    def enter(low: int, high: int) -> None:
        rows = wanted_rows[low:high]
        scores = stripes.scores(rows)
        found = _best_of_rows(scores, price, sent(threshold[rows], device), k)
        merged = None if by_col is None else by_col.merged(scores, rows)
        _put(by_row, rows, *found)  # from here on nothing is allocated: see `over_tiles`
        if by_col is not None and merged is not None:
            by_col.key, by_col.row = merged
        bar.update(rows.size)

    step = max(1, pairs_in_tile(device, source.memory_budget) // max(1, n_cols))
    with progress(total=wanted_rows.size, desc=f"best partners on {device}", unit="feature", leave=False) as bar:
        over_tiles(wanted_rows.size, step, enter)
    return by_row, None if by_col is None else by_col.lists(offset == np.inf)


def _block(source: OnDevice, rows: IntArray) -> FloatArray:
    stripes = source.stripes
    n_cols = stripes.shape[1]
    out = np.empty((rows.size, n_cols))

    def compute(low: int, high: int) -> None:
        out[low:high] = stripes.scores(rows[low:high]).cpu().numpy()

    over_tiles(rows.size, max(1, pairs_in_tile(stripes.device, source.memory_budget) // max(1, n_cols)), compute)
    return out


def _best_of_rows(
    scores: torch.Tensor, price: torch.Tensor, least: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Partners, keys and scores [n, k or n_cols] of the largest keys above ``least`` [n], and -inf for other keys."""
    key, partner = largest(scores - price, k)
    return partner, key.masked_fill_(key <= least[:, None], -torch.inf), scores.gather(1, partner)


def largest(keys: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the k largest keys [n, k] of each row and their columns; of equal keys the lower columns, in any order.

    ``topk`` may choose any of the columns whose key equals the last one. Where there are more of them than places, the
    places are filled again.

    Examples
    --------
    >>> key, column = largest(torch.tensor([[0.0, 3.0, 0.0, 0.0]]), 3)
    >>> column.tolist()
    [[1, 0, 2]]
    """
    k = min(k, keys.shape[1])
    key, column = torch.topk(keys, k, dim=1)
    last = key[:, -1:]
    tied = torch.nonzero(((keys >= last).sum(1) > k) & (last[:, 0] > -torch.inf)).squeeze(1)
    if tied.numel():
        equal = keys[tied] == last[tied]
        number = torch.arange(keys.shape[1], dtype=keys.dtype, device=keys.device)
        lowest = torch.topk(torch.where(equal, -number, -torch.inf), k, dim=1).indices
        place = torch.arange(k, device=keys.device)
        n_greater = (key[tied] > last[tied]).sum(1, keepdim=True)
        refilled = lowest.gather(1, (place - n_greater).clamp_(min=0))
        column[tied] = torch.where(place < n_greater, column[tied], refilled)
    return key, column


class _Columns:
    """The best rows of every column so far [n_cols, k], by falling key; of equal keys the lower row first."""

    def __init__(self, k: int, n_cols: int, device: torch.device) -> None:
        self.key = torch.full((n_cols, k), -torch.inf, dtype=torch.float64, device=device)
        self.row = torch.full((n_cols, k), -1, dtype=torch.int64, device=device)

    def merged(self, scores: torch.Tensor, rows: IntArray) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and rows with those of a tile, whose rows come after all before."""
        best, at = largest(scores.T.contiguous(), self.key.shape[1])
        at, order = torch.sort(at, dim=1)  # by row, so that the stable sort below leaves equal keys in that order
        row = torch.cat([self.row, sent(rows, scores.device)[at]], dim=1)
        key = torch.cat([self.key, best.gather(1, order)], dim=1)
        key, order = torch.sort(key, stable=True, dim=1, descending=True)
        kept = slice(0, self.key.shape[1])
        return key[:, kept].contiguous(), row.gather(1, order[:, kept])

    def lists(self, dead: BoolArray) -> Best:
        """Lists of the columns, empty for dead ones."""
        out = Best.empty(*self.key.shape)
        _put(out, np.arange(dead.size), self.row, self.key, self.key)
        return out.without(dead)


def _put(out: Best, rows: IntArray, partner: torch.Tensor, key: torch.Tensor, score: torch.Tensor) -> None:
    """Write lists into their rows, by falling key; among equal keys the lower index first."""
    lists = [tensor.cpu().numpy() for tensor in (partner, key, score)]
    order = np.lexsort((lists[0], -lists[1]), axis=1)
    partner_, key_, score_ = (np.take_along_axis(array, order, axis=1) for array in lists)
    is_partner = key_ > -np.inf
    k = key_.shape[1]
    out.partner[rows, :k], out.key[rows, :k] = np.where(is_partner, partner_, -1), key_
    out.score[rows, :k] = np.where(is_partner, score_, np.nan)

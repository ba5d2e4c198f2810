"""Candidate edges found on a torch device, a tile of parents at a time, as `family_kernels.find_pairs` finds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.family.family_kernels import AA, AB, BB, BOTH
from universality.similarity.engine.device_memory import attempted, copy_of, over_tiles, pairs_in_tile, sent
from universality.similarity.engine.device_sums import TokenRows, ranges, sums_of_products
from universality.similarity.engine.store_rows import Rows

DEPTH = 4  # sums of a pair, which with their scores take that many times the room of a similarity's pair
DOTS = 1 << 22  # numbers that are multiplied at a time for decoder cosines: 100 MB

Found = tuple[npt.NDArray[np.int64], FloatArray, npt.NDArray[np.int64]]


def find_pairs_on(
    device: torch.device,
    memory_budget: int,
    firings: tuple[IntArray, npt.NDArray[np.uint32], npt.NDArray[np.float32]],
    meets: IntArray,
    rows: Rows,
    moments: tuple[IntArray, FloatArray],
    eligible: tuple[BoolArray, BoolArray],
    decoders: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    thresholds: tuple[float, float, float],
) -> Found | None:
    """Find the pairs that pass the first three rules; None, with a warning, where the device has no room.

    Parameters
    ----------
    device, memory_budget
        Where to compute; the bytes of a tile where that is torch's CPU.
    firings, meets, rows, moments, eligible, decoders, thresholds
        As for `universality.family.family_kernels.find_pairs`, and results as there. Decoder cosines are sums in
        float64; there they are in float32.
    """

    def compute() -> Found:
        search = _Search(device, firings, meets, rows, moments, eligible, decoders, thresholds)
        step = max(1, pairs_in_tile(device, memory_budget) // (DEPTH * max(1, eligible[1].size)))
        over_tiles(eligible[0].size, step, search.tile)
        return search.found()

    return attempted("candidate edges", device, compute)


class _Search:
    """Pairs that were found so far, and what is needed to find more."""

    def __init__(
        self,
        device: torch.device,
        firings: tuple[IntArray, npt.NDArray[np.uint32], npt.NDArray[np.float32]],
        meets: IntArray,
        rows: Rows,
        moments: tuple[IntArray, FloatArray],
        eligible: tuple[BoolArray, BoolArray],
        decoders: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
        thresholds: tuple[float, float, float],
    ) -> None:
        self.ends, self.row, self.value = (copy_of(array, device) for array in firings)  # of all meetings
        self.meets, self.rows = copy_of(meets, device), TokenRows.of(rows, device)
        self.count_b, self.sum_sq_b = (sent(array, device).double() for array in moments)
        self.parents, self.children = (sent(mask, device) for mask in eligible)
        self.x, self.y = sent(decoders[0], device), copy_of(decoders[1], device)
        self.thresholds = thresholds
        self.parts: list[tuple[Any, ...]] = []

    def tile(self, low: int, high: int) -> None:
        """Find the pairs of the parents ``low`` to ``high``."""
        sums, count_a, sum_sq_a = self._sums(low, high)
        coverage = sums[..., BOTH] / self.count_b
        # The larger of the two masked cosines has the smaller norm.
        norm = torch.minimum(sum_sq_a[:, None] * sums[..., BB], sums[..., AA] * self.sum_sq_b).sqrt_()
        masked = torch.where(norm > 0, (sums[..., AB] / norm).clamp_(max=1.0), 0.0)
        together = (sums[..., BOTH] > 0) & self.children
        covered, alike = (
            together & (values >= least) for values, least in zip((coverage, masked), self.thresholds, strict=False)
        )
        i, j = torch.nonzero(covered & alike, as_tuple=True)
        cosine = self._cosines(i + low, j)
        linked = cosine >= self.thresholds[2]
        counts = torch.stack([part.sum() for part in (together, covered, alike, covered & alike, linked)])
        i, j = i[linked], j[linked]
        share = sums[i, j, BOTH] / count_a[i]
        values = torch.stack([masked[i, j], cosine[linked].clamp_(max=1.0), coverage[i, j], share], dim=1)
        found = torch.stack([i + low, j], dim=1), values, counts
        self.parts.append(tuple(tensor.cpu().numpy() for tensor in found))

    def found(self) -> Found:
        """Join what the tiles found."""
        ends, values, counts = zip(*self.parts, strict=True) if self.parts else ([], [], [])
        return (
            np.concatenate([np.zeros((0, 2), np.int64), *ends]),
            np.concatenate([np.zeros((0, 4)), *values]),
            np.sum([np.zeros(5, np.int64), *counts], axis=0),
        )

    def _sums(self, low: int, high: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Sums [n, n_children, 4] of the parents, and their firings and squares [n] on tokens that meet another."""
        first, n = self.ends[low:high], high - low
        size = (self.ends[low + 1 : high + 1] - first) * self.parents[low:high]
        parent, entry = ranges(first, size, int(size.sum()))
        meeting = self.meets[self.row[entry].long()]
        kept = torch.nonzero(meeting >= 0).squeeze(1)
        parent, meeting, value = parent[kept], meeting[kept], self.value[entry[kept]].double()
        size = torch.bincount(parent, minlength=n)
        square = torch.zeros(n, dtype=torch.float64, device=value.device)
        square.index_put_((parent,), value * value, accumulate=True)  # in a fixed order, where `index_add_` has none
        sums = sums_of_products(size, meeting, value, self.rows, self.children.numel(), masked=True)
        return sums, size.double(), square

    def _cosines(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        """Decoder cosines float64 [n] of some pairs."""
        step = max(1, DOTS // max(1, self.x.shape[1]))
        parts = [(self.x[i[p : p + step]].double() * self.y[j[p : p + step]]).sum(1) for p in range(0, i.numel(), step)]
        return torch.cat([self.sum_sq_b.new_zeros(0), *parts])

"""Rows of scores on a torch device, all in float64: from sums of products over tokens, or from two factors.

Sums over tokens have two routes. *Sparse*: each activation of a row's feature is multiplied with its token's row of the
other store, and products of one pair are added by `index_put_`, which on a card sorts them and adds runs of equal
indices in a fixed order. `index_add_` would add by atomics, in another order each time. *Dense*: where activations are
not sparse (neurons), tokens are written out, centred and multiplied. Products are of float64 tensors, which no setting
lets a card compute in TF32.

Both agree with the CPU up to the order of a float64 sum: a score of n co-firings within n 1.1e-16, its rounding alone
(Higham 2002, *Accuracy and Stability of Numerical Algorithms*, section 4.2, with Cauchy-Schwarz). In practice errors
grow as √n, to some 1e-13 at a million. The sparse route gives the same bytes for any number of rows at a time.

By arithmetic, a product costs about 300 bytes of memory traffic, of which sorting is a half: 0.1 ns at 3 TB/s, or 0.4 s
for a million tokens of 64 active features. A kernel of our own that keeps a row of sums in shared memory would move 8
bytes. But lists of best partners move some 200 bytes a pair by any route, which takes 1.1 s at 131,072².
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch

from universality.arrays import FloatArray, IntArray, runs_within
from universality.similarity.engine.device_memory import copy_of, sent

if TYPE_CHECKING:
    from universality.similarity.engine.comoments import CoMoments, MomentType
    from universality.similarity.engine.side_moments import Side
    from universality.similarity.engine.store_rows import Rows

# Product of both densities above which the dense route is taken. Where float64 has tensor cores (67 TFLOP/s) it is
# faster from 0.0003 on, where it has none (1.3 TFLOP/s) from 0.015 on: by data sheets, with 0.1 ns a sparse product.
DENSE_SHARE = 0.01
PIECE = 1 << 20  # products of a row that are added at once: a longer row is cut at the same places whatever the tile
PRODUCTS_A_PAIR = 3  # pairs of a tile for each product that is formed at a time: a product takes about 120 bytes
TILE_BYTES = (
    1 << 28
)  # of tokens written out at a time, but no more than the scores take; writing takes ten times as much
MIN_TOKENS = 1 << 10  # that are written out at a time nevertheless


class Stripes(Protocol):
    """A matrix on a device that exists some rows at a time."""

    device: torch.device
    shape: tuple[int, int]

    def scores(self, rows: IntArray) -> torch.Tensor:
        """Scores float64 [n_rows, n_cols] of distinct rows, in a tensor of the caller's own."""


class FactorStripes:
    """x yᵀ, clipped to ±limit, or its absolute value."""

    def __init__(self, x: FloatArray, y: FloatArray, limit: float, absolute: bool, device: torch.device) -> None:
        self.x, self.y = (copy_of(factor, device).double() for factor in (x, y))  # of float32, TF32 could be used
        self.limit, self.absolute, self.device = limit, absolute, device
        self.shape = (x.shape[0], y.shape[0])

    def scores(self, rows: IntArray) -> torch.Tensor:
        """Scores float64 [n_rows, n_cols] of distinct rows."""
        product = self.x[sent(rows, self.device)] @ self.y.T
        return (product.abs_() if self.absolute else product).clamp_(-self.limit, self.limit)


class TokenRows(NamedTuple):
    """Token rows on a device: row p holds ``cols[start[p]:stop[p]]`` with values ``data[start[p]:stop[p]]``."""

    start: torch.Tensor
    stop: torch.Tensor
    cols: torch.Tensor
    data: torch.Tensor

    @classmethod
    def of(cls, rows: Rows, device: torch.device) -> TokenRows:
        """Copy rows; their entries, which a null leaves in place, only once."""
        entries = copy_of(rows.indices, device), copy_of(rows.data, device)
        return cls(sent(rows.start, device), sent(rows.stop, device), *entries)


class SparseStripes:
    """s_i t_j x sums of products - x_i y_j, clipped to ±1, from sparse rows.

    Parameters
    ----------
    moments
        The two sides, in memory.
    moment
        "covariance" for sums of shifted values, "products" for others.
    scales, background
        s, t and x, y.
    device
        Where to compute.
    """

    def __init__(
        self,
        moments: CoMoments,
        moment: MomentType,
        scales: tuple[FloatArray, FloatArray],
        background: tuple[FloatArray, FloatArray],
        device: torch.device,
    ) -> None:
        rows = moments.b.take(0, moments.b.rows.size, shifted=moment == "covariance")
        self.ends, self.position, self.value = (copy_of(array, device) for array in moments.columns(moment))
        self.rows = TokenRows.of(rows, device)
        self.scales = [sent(array, device) for array in (*scales, *background)]
        self.shape, self.device = moments.shape, device

    def scores(self, rows: IntArray) -> torch.Tensor:
        """Scores float64 [n_rows, n_cols] of distinct rows."""
        chosen = sent(rows, self.device)
        first = self.ends[chosen]
        size = self.ends[chosen + 1] - first
        _, entry = ranges(first, size, int(size.sum()))
        position, value = self.position[entry].long(), self.value[entry].double()
        total = sums_of_products(size, position, value, self.rows, self.shape[1])
        s, t, x, y = self.scales
        return total.mul_(s[chosen, None]).mul_(t).addr_(x[chosen], y, alpha=-1).clamp_(-1, 1)


def ranges(first: torch.Tensor, size: torch.Tensor, total: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Join the ranges ``first[i]`` up to ``first[i] + size[i]``, of ``total`` numbers: each one's i, and the numbers.

    Examples
    --------
    >>> owner, number = ranges(torch.tensor([5, 9, 2]), torch.tensor([2, 0, 3]), 5)
    >>> owner.tolist(), number.tolist()
    ([0, 0, 2, 2, 2], [5, 6, 2, 3, 4])
    """
    owner = torch.repeat_interleave(size, output_size=total)  # a total that is known spares a wait for the card
    before = first - (torch.cumsum(size, 0) - size)
    return owner, torch.arange(total, device=first.device) + before[owner]


def sums_of_products(
    size: torch.Tensor, position: torch.Tensor, value: torch.Tensor, rows: TokenRows, n_cols: int, masked: bool = False
) -> torch.Tensor:
    """Add up products of the activations of some features with those of the other store on the same tokens.

    Parameters
    ----------
    size
        [n] activations of each feature.
    position, value
        int64, float64 [n_entries] token rows and values of these activations, feature by feature.
    rows
        Token rows of the other store, which has ``n_cols`` features.
    masked
        False: sums of products ab, float64 [n, n_cols]. True: of (ab, a², b², 1) where both fire, [n, n_cols, 4].
    """
    n = size.numel()
    total = torch.zeros((n * n_cols, *((4,) if masked else ())), dtype=torch.float64, device=size.device)
    row = torch.repeat_interleave(torch.arange(n, device=size.device) * n_cols, size, output_size=position.numel())
    begin = rows.start[position]
    length = rows.stop[position] - begin
    for low, high, n_products in _calls(size, length, max(PIECE, n * n_cols // PRODUCTS_A_PAIR)):
        entry, place = ranges(begin[low:high], length[low:high], n_products)
        a, b = value[low:high][entry], rows.data[place].double()
        products = torch.stack([a * b, a * a, b * b, (b != 0).double()], dim=1) if masked else a * b
        total.index_put_((row[low:high][entry] + rows.cols[place],), products, accumulate=True)
    return total.view(n, n_cols, *total.shape[1:])


def _calls(size: torch.Tensor, length: torch.Tensor, limit: int) -> Iterator[tuple[int, int, int]]:
    """Cut the entries of some rows into runs that are added at once: first, last and number of products.

    Short rows are added whole, and long ones in pieces of their own. So the order of a pair's sum depends on its row
    alone.

    Parameters
    ----------
    size
        [n_rows] entries of each row.
    length
        [n_entries] products of each entry.
    limit
        Largest number of products of a run; no less than `PIECE`.
    """
    products = torch.cat([length.new_zeros(1), torch.cumsum(length, 0)])
    of_rows = torch.cat([size.new_zeros(1), torch.cumsum(size, 0)])
    ends, before = of_rows.cpu().numpy(), products[of_rows].cpu().numpy()
    of_row = np.diff(before)
    for low, high in runs_within(np.where(of_row > PIECE, limit + 1, of_row), limit):
        first, last, n_products = int(ends[low]), int(ends[high]), int(before[high] - before[low])
        if of_row[low] > PIECE:
            of_entry = length[first:last].cpu().numpy()
            for begin, end in runs_within(of_entry, PIECE):
                yield first + begin, first + end, int(of_entry[begin:end].sum())
        elif n_products:
            yield first, last, n_products


class DenseStripes:
    """s_i t_j x sums of products, of centred values for a covariance, from tokens that are written out.

    Parameters are those of `SparseStripes`; centred sums have no background.
    """

    def __init__(
        self, moments: CoMoments, moment: MomentType, scales: tuple[FloatArray, FloatArray], device: torch.device
    ) -> None:
        centred = moment == "covariance"
        self.a, self.b = (_TokenTiles(side, centred, device) for side in (moments.a, moments.b))
        self.scales = [sent(array, device) for array in scales]
        self.shape, self.device = moments.shape, device

    def scores(self, rows: IntArray) -> torch.Tensor:
        """Scores float64 [n_rows, n_cols] of distinct rows."""
        chosen, every = sent(rows, self.device), torch.arange(self.shape[1], device=self.device)
        total = torch.zeros((rows.size, self.shape[1]), dtype=torch.float64, device=self.device)
        n, width = self.a.rows.start.numel(), rows.size + self.shape[1]
        step = max(MIN_TOKENS, min(TILE_BYTES // 8, total.numel()) // width)
        for low in range(0, n, step):
            total.addmm_(self.a.tile(low, low + step, chosen).T, self.b.tile(low, low + step, every))
        s, t = self.scales
        return total.mul_(s[chosen, None]).mul_(t).clamp_(-1, 1)


class _TokenTiles:
    """Token rows of one side, written out some at a time."""

    def __init__(self, side: Side, centred: bool, device: torch.device) -> None:
        self.rows = TokenRows.of(side.take(0, side.rows.size), device)
        self.centre = sent(side.mean if centred else np.zeros_like(side.mean), device)

    def tile(self, low: int, high: int, features: torch.Tensor) -> torch.Tensor:
        """Values float64 [n_tokens, n_features] of some features, less their centres."""
        start = self.rows.start[low:high]
        size = self.rows.stop[low:high] - start
        token, place = ranges(start, size, int(size.sum()))
        slot = torch.full_like(self.centre, -1, dtype=torch.int64)
        slot[features] = torch.arange(features.numel(), device=slot.device)
        at = slot[self.rows.cols[place].long()]
        wanted = torch.nonzero(at >= 0).squeeze(1)
        tile = torch.zeros((start.numel(), features.numel()), dtype=torch.float64, device=slot.device)
        tile[token[wanted], at[wanted]] = self.rows.data[place[wanted]].double()
        return tile.sub_(self.centre[features])


def stripes_of(
    moments: CoMoments,
    moment: MomentType,
    scales: tuple[FloatArray, FloatArray],
    background: tuple[FloatArray, FloatArray],
    device: torch.device,
) -> Stripes:
    """Take the route that suits the density; parameters as for `SparseStripes`."""
    if moments.a.density * moments.b.density > DENSE_SHARE:
        return DenseStripes(moments, moment, scales, device)
    return SparseStripes(moments, moment, scales, background, device)

"""Best partners computed on a torch device (CUDA), a stripe of rows at a time, in float64.

Factors are multiplied. Co-moments are scattered: each activation of the stripe's features is multiplied with its
token's row of the other store and added into a dense stripe [n_rows, n_cols]. Only lists of best partners leave the
device. Sums are added in no fixed order, so scores may differ by rounding from run to run; among equal scores at the
end of a list the choice is arbitrary.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import starmap
from typing import TYPE_CHECKING, Any

import numpy as np

from universality.arrays import BoolArray, FloatArray, IntArray, runs_within
from universality.errors import UniversalityError
from universality.similarity.engine import token_kernels as kernels
from universality.similarity.engine.block_source import Best, BlockSource
from universality.similarity.engine.factors import FactorSource
from universality.similarity.engine.token_source import TokenSource

if TYPE_CHECKING:
    import torch

    from universality.features.storage.store import FeatureStore

STRIPE_BYTES = 1 << 30  # of scores on the device at a time
SPREAD = 1 << 25  # products formed at a time


@dataclass(frozen=True, eq=False)
class DeviceSource:
    """A source with blocks and best partners computed on a torch device, and the rest by the inner source."""

    inner: TokenSource | FactorSource
    device: str

    @classmethod
    def of(cls, inner: BlockSource, device: str) -> DeviceSource:
        """Check that this source can be computed on a device, and wrap it."""
        if isinstance(inner, FactorSource):
            return cls(inner, device)
        if not isinstance(inner, TokenSource) or inner.scales() is None:
            raise UniversalityError(
                f"{inner.name} similarity has no way on a device; factors, and measures that scale products, have"
            )
        if inner.a.whole is None or inner.b.whole is None:
            raise UniversalityError(
                f"{inner.name} similarity: on a device both stores must fit into memory; raise memory_budget"
            )
        return cls(inner, device)

    @property
    def name(self) -> str:
        """The measure."""
        return self.inner.name

    @property
    def stores(self) -> tuple[FeatureStore, FeatureStore] | None:
        """The stores that are compared; None for factors of other origin, and for tokens that are paired anew."""
        return self.inner.stores

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_cols)."""
        return self.inner.shape

    @property
    def dead_rows(self) -> BoolArray:
        """[n_rows] True where no score is defined."""
        return self.inner.dead_rows

    @property
    def dead_cols(self) -> BoolArray:
        """[n_cols] True where no score is defined."""
        return self.inner.dead_cols

    @property
    def provenance(self) -> dict[str, Any]:
        """Record of what was compared, as JSON."""
        return self.inner.provenance

    @property
    def memory_budget(self) -> int:
        """Bytes that an array of features x features may take."""
        return self.inner.memory_budget

    @property
    def rows_per_block(self) -> int:
        """Rows in a stripe."""
        return max(1, STRIPE_BYTES // (8 * max(1, self.shape[1])))

    def block(self, rows: IntArray) -> FloatArray:
        """Scores [n_rows, n_cols] of distinct rows."""
        out: FloatArray = self._stripes().block(rows).cpu().numpy()
        return out

    def pairs(self, i: IntArray, j: IntArray) -> FloatArray:
        """Scores [n_pairs] of given pairs."""
        return self.inner.pairs(i, j)

    def transposed(self) -> DeviceSource:
        """Exchange rows and columns."""
        return DeviceSource(self.inner.transposed(), self.device)

    def best(self, k: int, offset: FloatArray, threshold: FloatArray, both: bool) -> tuple[Best, Best | None]:
        """Find the best partners as `universality.similarity.engine.best_partners.best_of_blocks` does."""
        import torch

        stripes, wanted_rows = self._stripes(), np.flatnonzero(threshold < np.inf)
        by_row = Best.empty(self.shape[0], k)
        by_col = _Columns(k, self.shape[1], self.device) if both else None
        price = torch.from_numpy(offset).to(self.device)
        least = torch.from_numpy(threshold).to(self.device)
        for low in range(0, wanted_rows.size, self.rows_per_block):
            rows = wanted_rows[low : low + self.rows_per_block]
            scores = stripes.block(rows)
            if by_col is not None:
                by_col.update(scores, rows)
            key, partner = torch.topk(scores - price, min(k, self.shape[1]), dim=1)
            key = key.masked_fill(key <= least[torch.from_numpy(rows).to(self.device), None], -torch.inf)
            _put(by_row, rows, key, partner, scores.gather(1, partner))
        return by_row, None if by_col is None else by_col.lists(offset == np.inf)

    def _stripes(self) -> _Factors | _Products:
        stripes = _Factors if isinstance(self.inner, FactorSource) else _Products
        return stripes(self.inner, self.device)  # type: ignore[arg-type]


class _Factors:
    """Stripes of x yᵀ."""

    def __init__(self, source: FactorSource, device: str) -> None:
        import torch

        self.x, self.y = (torch.from_numpy(np.ascontiguousarray(z)).to(device) for z in (source.x, source.y))
        self.limit, self.device = source.limit, device

    def block(self, rows: IntArray) -> torch.Tensor:
        import torch

        return (self.x[torch.from_numpy(rows).to(self.device)] @ self.y.T).clamp(-self.limit, self.limit)


class _Products:
    """Stripes of scaled co-moments."""

    def __init__(self, source: TokenSource, device: str) -> None:
        import torch

        a, b, shifted = source.moments.a, source.moments.b, source.needs == "covariance"
        shift = a.shift if shifted else np.zeros_like(a.shift)
        columns = kernels.transpose(*a.take(0, a.rows.size), shift, a.n_features)
        scales = source.scales()
        assert scales is not None

        def put(array: np.ndarray) -> torch.Tensor:
            signed = array.astype(np.int64) if array.dtype.kind in "iu" else array  # torch lacks most unsigned types
            return torch.from_numpy(np.ascontiguousarray(signed)).to(device)

        self.indptr, (self.position, self.value) = columns[0], (put(array) for array in columns[1:])
        self.start, self.stop, self.cols, self.data = (put(array) for array in b.take(0, b.rows.size, shifted))
        self.scales = [put(array) for array in (*scales, *source.background())]
        self.n_cols, self.device = source.shape[1], device

    def block(self, rows: IntArray) -> torch.Tensor:
        import torch

        total = torch.zeros(rows.size * self.n_cols, dtype=torch.float64, device=self.device)
        size = self.indptr[rows + 1] - self.indptr[rows]
        entry = np.repeat(self.indptr[rows] - np.cumsum(size) + size, size) + np.arange(size.sum())
        row = torch.from_numpy(np.repeat(np.arange(rows.size), size)).to(self.device)
        at = torch.from_numpy(entry).to(self.device)
        position = self.position[at]
        length = self.stop[position] - self.start[position]
        # Each activation expands to a row of products; only `SPREAD` of them exist at a time.
        for part in starmap(slice, runs_within(length.cpu().numpy(), SPREAD)):
            n = length[part]
            spread = torch.repeat_interleave(torch.arange(n.numel(), device=self.device), n)
            inside = torch.arange(spread.numel(), device=self.device) - (torch.cumsum(n, 0) - n)[spread]
            place = self.start[position[part]][spread] + inside
            product = self.value[at[part]].double()[spread] * self.data[place].double()
            total.index_add_(0, row[part][spread] * self.n_cols + self.cols[place], product)
        scale_a, scale_b, x, y = self.scales
        chosen = torch.from_numpy(rows).to(self.device)
        scores = total.view(rows.size, self.n_cols) * scale_a[chosen, None] * scale_b
        return (scores - torch.outer(x[chosen], y)).clamp(-1, 1)


class _Columns:
    """The best rows of every column, merged stripe by stripe."""

    def __init__(self, k: int, n_cols: int, device: str) -> None:
        import torch

        self.key = torch.full((k, n_cols), -torch.inf, dtype=torch.float64, device=device)
        self.row = torch.full((k, n_cols), -1, dtype=torch.int64, device=device)

    def update(self, scores: torch.Tensor, rows: IntArray) -> None:
        import torch

        best, at = torch.topk(scores, min(len(self.key), len(scores)), dim=0)
        number = torch.from_numpy(rows).to(scores.device)[at]
        key, row = torch.cat([self.key, best]), torch.cat([self.row, number])
        self.key, order = torch.topk(key, len(self.key), dim=0)
        self.row = row.gather(0, order)

    def lists(self, dead: BoolArray) -> Best:
        out = Best.empty(self.key.shape[1], len(self.key))
        _put(out, np.arange(len(dead)), self.key.T, self.row.T, self.key.T)
        return out.without(dead)


def _put(out: Best, rows: IntArray, key: torch.Tensor, partner: torch.Tensor, score: torch.Tensor) -> None:
    """Write lists into their rows, by falling key; among equal keys the lower index first."""
    lists = [tensor.cpu().numpy() for tensor in (partner, key, score)]
    order = np.lexsort((lists[0], -lists[1]), axis=1)
    partner_, key_, score_ = (np.take_along_axis(array, order, axis=1) for array in lists)
    is_partner = key_ > -np.inf
    k = key_.shape[1]
    out.partner[rows, :k], out.key[rows, :k] = np.where(is_partner, partner_, -1), key_
    out.score[rows, :k] = np.where(is_partner, score_, np.nan)

"""Sources of scores that exist already: a dense array, or two factors with their product."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.devices import describe_device
from universality.errors import UniversalityError
from universality.similarity.engine.best_partners import best_of_blocks
from universality.similarity.engine.block_source import BLOCK_BYTES, DEFAULT_BUDGET, Best, rows_within
from universality.similarity.engine.float32_screen import screened_best

if TYPE_CHECKING:
    import torch

    from universality.features.storage.store import FeatureStore
    from universality.similarity.engine.device_sums import Stripes


@dataclass(frozen=True, eq=False)
class DenseSource:
    """An array [n_rows, n_cols] held in memory."""

    array: FloatArray
    dead_rows: BoolArray
    dead_cols: BoolArray
    name: str = "dense"
    provenance: dict[str, Any] = field(default_factory=lambda: {"measure": "dense"})
    memory_budget: int = DEFAULT_BUDGET

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_cols)."""
        return self.array.shape[0], self.array.shape[1]

    @property
    def rows_per_block(self) -> int:
        """Rows in a block of bounded size."""
        return rows_within(BLOCK_BYTES, self.shape[1])

    def block(self, rows: IntArray) -> FloatArray:
        """Copy the rows."""
        return self.array[rows]  # a copy, as `rows` is an array: the caller may change it

    def pairs(self, i: IntArray, j: IntArray) -> FloatArray:
        """Scores [n_pairs]."""
        return self.array[i, j]

    def best(self, k: int, offset: FloatArray, threshold: FloatArray, both: bool) -> tuple[Best, Best | None]:
        """Find the best partners block by block."""
        return best_of_blocks(self, k, offset, threshold, both)

    def transposed(self) -> DenseSource:
        """Transpose the array, without a copy."""
        return replace(self, array=self.array.T, dead_rows=self.dead_cols, dead_cols=self.dead_rows)


@dataclass(frozen=True, eq=False)
class FactorSource:
    """S = x yᵀ, clipped to ±``limit``, as correlations leave [-1, 1] by rounding.

    Blocks and best partners are computed on ``device``, or by the CPU's own loops where that is None.
    """

    absolute: ClassVar[bool] = False
    x: FloatArray
    y: FloatArray
    dead_rows: BoolArray
    dead_cols: BoolArray
    name: str = "factors"
    provenance: dict[str, Any] = field(default_factory=lambda: {"measure": "factors"})
    limit: float = np.inf
    memory_budget: int = DEFAULT_BUDGET
    stores: tuple[FeatureStore, FeatureStore] | None = None
    device: torch.device | None = None

    def on(self, device: torch.device) -> Self:
        """Compute blocks and best partners on a device."""
        return replace(self, device=device, provenance=self.provenance | {"device": describe_device(device)})

    @cached_property
    def stripes(self) -> Stripes:
        """Rows of scores on the device."""
        from universality.similarity.engine.device_sums import FactorStripes

        assert self.device is not None
        return FactorStripes(self.x, self.y, self.limit, self.absolute, self.device)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_cols)."""
        return self.x.shape[0], self.y.shape[0]

    @property
    def rows_per_block(self) -> int:
        """Rows in a block of bounded size."""
        return rows_within(BLOCK_BYTES, self.shape[1])

    def block(self, rows: IntArray) -> FloatArray:
        """x[rows] yᵀ, float64."""
        if self.device is not None:
            from universality.similarity.engine import device_blocks

            if (computed := device_blocks.block(self, rows)) is not None:
                return computed
        return np.clip(self.x[rows] @ self.y.T, -self.limit, self.limit)

    def pairs(self, i: IntArray, j: IntArray) -> FloatArray:
        """Scores [n_pairs]."""
        step = rows_within(BLOCK_BYTES, self.x.shape[1])  # both factors' rows are copied: bound them
        parts = [
            np.einsum("pk,pk->p", self.x[i[p : p + step]], self.y[j[p : p + step]]) for p in range(0, i.size, step)
        ]
        return np.clip(np.concatenate(parts or [np.zeros(0)]), -self.limit, self.limit)

    def best(self, k: int, offset: FloatArray, threshold: FloatArray, both: bool) -> tuple[Best, Best | None]:
        """Find the best partners; see `BlockSource.best`."""
        if self.device is not None:
            from universality.similarity.engine import device_blocks

            if (found := device_blocks.best(self, k, offset, threshold, both)) is not None:
                return found
        return self._best_here(k, offset, threshold, both)

    def _best_here(self, *wanted: Any) -> tuple[Best, Best | None]:
        """Find candidates among float32 products with a bound on their error; settle them in float64."""
        return screened_best(self, *wanted)

    def transposed(self) -> Self:
        """S^T = y x^T."""
        stores = None if self.stores is None else (self.stores[1], self.stores[0])
        return replace(self, x=self.y, y=self.x, dead_rows=self.dead_cols, dead_cols=self.dead_rows, stores=stores)


@dataclass(frozen=True, eq=False)
class AbsoluteFactors(FactorSource):
    """S = |x y^T|: the sign of a direction does not count."""

    absolute: ClassVar[bool] = True

    def block(self, rows: IntArray) -> FloatArray:
        """|x[rows] yᵀ|, float64."""
        return np.abs(super().block(rows))

    def pairs(self, i: IntArray, j: IntArray) -> FloatArray:
        """Scores [n_pairs]."""
        return np.abs(super().pairs(i, j))

    def _best_here(self, *wanted: Any) -> tuple[Best, Best | None]:
        """Find the best partners block by block: the float32 screen is of signed products."""
        return best_of_blocks(self, *wanted)


def dense_source(
    array: npt.ArrayLike, dead_rows: npt.ArrayLike | None = None, dead_cols: npt.ArrayLike | None = None
) -> DenseSource:
    """Check a dense array and wrap it; see `Similarity.from_dense`."""
    scores = _finite_matrix(array, "from_dense")
    rows, cols = _mask(dead_rows, scores.shape[0], "dead_rows"), _mask(dead_cols, scores.shape[1], "dead_cols")
    return DenseSource(scores, rows, cols)


def factor_source(x: npt.ArrayLike, y: npt.ArrayLike) -> FactorSource:
    """Check two factors and wrap them; a row of zeros is dead. See `Similarity.from_factors`."""
    left, right = _finite_matrix(x, "from_factors x"), _finite_matrix(y, "from_factors y")
    if left.shape[1] != right.shape[1]:
        raise UniversalityError(
            f"from_factors: expected x [n_rows, k] and y [n_cols, k], found {left.shape} and {right.shape}"
        )
    return FactorSource(left, right, np.all(left == 0, axis=1), np.all(right == 0, axis=1))


def _finite_matrix(array: npt.ArrayLike, what: str) -> FloatArray:
    matrix = np.asarray(array, dtype=np.float64)
    if matrix.ndim != 2:
        raise UniversalityError(f"{what}: expected two axes, found shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        i, j = np.argwhere(~np.isfinite(matrix))[0]
        raise UniversalityError(
            f"{what}: {matrix[i, j]} at [{i}, {j}]; replace it by 0, and name a row or column without scores as dead"
        )
    return matrix


def _mask(given: npt.ArrayLike | None, n: int, what: str) -> BoolArray:
    mask = np.zeros(n, bool) if given is None else np.asarray(given)
    if mask.dtype != np.bool_ or mask.shape != (n,):
        raise UniversalityError(f"from_dense: {what} must be bool [{n}], found {mask.dtype} {mask.shape}")
    return mask

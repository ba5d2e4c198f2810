"""The protocol of a measure: blocks of scores and lists of best partners."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.errors import DeviceWarning

if TYPE_CHECKING:
    import torch

    from universality.features.storage.store import FeatureStore

DEFAULT_BUDGET = 2 << 30
"""Bytes of memory that a similarity may take where the caller names none."""
BLOCK_BYTES = 64 << 20  # of a dense block: long enough that BLAS and threads are busy, small beside the budget

TopK: TypeAlias = tuple[IntArray, FloatArray]


class Best(NamedTuple):
    """Lists [n, k], best first: partner int64 (-1 where there is none), key, score."""

    partner: IntArray
    key: FloatArray
    score: FloatArray

    @classmethod
    def empty(cls, n: int, k: int, dtype: npt.DTypeLike = np.float64) -> Best:
        """Lists without partners; ``dtype`` float32 for rough lists."""
        return cls(np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, dtype), np.full((n, k), np.nan, dtype))

    def without(self, dead: BoolArray) -> Best:
        """Empty the lists of dead features, in place."""
        self.partner[dead], self.key[dead], self.score[dead] = -1, -np.inf, np.nan
        return self


class BlockSource(Protocol):
    """A matrix [n_rows, n_cols] that exists one block at a time; dead rows and columns hold 0."""

    @property
    def name(self) -> str:
        """The measure."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_cols)."""

    @property
    def dead_rows(self) -> BoolArray:
        """[n_rows] True where no score is defined."""

    @property
    def dead_cols(self) -> BoolArray:
        """[n_cols] True where no score is defined."""

    @property
    def provenance(self) -> dict[str, Any]:
        """Record of what was compared, as JSON."""

    @property
    def memory_budget(self) -> int:
        """Bytes that an array of features x features may take."""

    @property
    def rows_per_block(self) -> int:
        """Number of rows of a block that suits the source."""

    def block(self, rows: IntArray) -> FloatArray:
        """Scores [n_rows, n_cols] of distinct rows, in an array of the caller's own."""

    def pairs(self, i: IntArray, j: IntArray) -> FloatArray:
        """Scores [n_pairs] of given pairs, computed without the full matrix."""

    def best(self, k: int, offset: FloatArray, threshold: FloatArray, both: bool) -> tuple[Best, Best | None]:
        """Find the best partners: those of `best_partners.best_of_blocks`, by whatever route is fastest."""

    def transposed(self) -> Self:
        """Exchange rows and columns."""


def rows_within(n_bytes: int, n_cols: int) -> int:
    """Number of rows of ``n_cols`` float64 that fit into ``n_bytes``; at least one."""
    return max(1, n_bytes // (8 * max(1, n_cols)))


def warn_of_cpu(measure: str, device: torch.device, reason: str) -> None:
    """Warn that a measure is computed on the CPU in place of a device."""
    warnings.warn(
        f"{measure} similarity is computed on the CPU, and not on {device}: {reason}", DeviceWarning, stacklevel=4
    )


def describe_store(store: FeatureStore) -> dict[str, Any]:
    """Record of a store for provenance: its file, its tokens and what it was written from."""
    return {
        "path": store.path.name,
        "n_features": int(store.n_features),
        "content_hash": store.content_hash(),
        "tokens_hash": store.tokens_hash,
        "provenance": store.provenance,
    }

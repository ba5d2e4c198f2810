"""A source of scores of some features only, in the numbering of their whole dictionaries.

Where few features of a wide dictionary were measured, as by fingerprints, scores exist for these alone. All other
features are dead, and nothing is held for them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.similarity.engine.block_source import BLOCK_BYTES, Best, BlockSource, rows_within, warn_of_cpu

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class ChosenFeatures:
    """Scores of a source, whose rows and columns are the chosen features of two dictionaries.

    Parameters
    ----------
    inner
        Scores [n_chosen_rows, n_chosen_cols].
    rows, cols
        Rising features that the rows and columns of ``inner`` are of.
    shape
        Features of both dictionaries.
    """

    inner: BlockSource
    rows: IntArray
    cols: IntArray
    shape: tuple[int, int]

    @property
    def name(self) -> str:
        """The measure."""
        return self.inner.name

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
        """Rows in a block of bounded size."""
        return rows_within(BLOCK_BYTES, self.shape[1])

    @cached_property
    def dead_rows(self) -> BoolArray:
        """[n_rows] True where no score is defined."""
        return _spread(self.inner.dead_rows, self.rows, self.shape[0], True)

    @cached_property
    def dead_cols(self) -> BoolArray:
        """[n_cols] True where no score is defined."""
        return _spread(self.inner.dead_cols, self.cols, self.shape[1], True)

    def block(self, rows: IntArray) -> FloatArray:
        """Scores [n_rows, n_cols], 0 for features that were not chosen."""
        scores, place = np.zeros((rows.size, self.shape[1])), self._row_place[rows]
        chosen = np.flatnonzero(place >= 0)
        scores[np.ix_(chosen, self.cols)] = self.inner.block(place[chosen])
        return scores

    def pairs(self, i: IntArray, j: IntArray) -> FloatArray:
        """Scores [n_pairs], 0 for features that were not chosen."""
        row, col = self._row_place[i], self._col_place[j]
        chosen = (row >= 0) & (col >= 0)
        scores = np.zeros(i.size)
        scores[chosen] = self.inner.pairs(row[chosen], col[chosen])
        return scores

    def best(self, k: int, offset: FloatArray, threshold: FloatArray, both: bool) -> tuple[Best, Best | None]:
        """Find the best partners among the chosen features; the others have none and are none."""
        by_row, by_col = self.inner.best(k, offset[self.cols], threshold[self.rows], both)
        rows = _spread_lists(by_row, self.rows, self.cols, self.shape[0])
        return rows, None if by_col is None else _spread_lists(by_col, self.cols, self.rows, self.shape[1])

    def on(self, device: torch.device) -> ChosenFeatures:
        """Compute the inner scores on a device, or warn that they cannot be."""
        if not hasattr(self.inner, "on"):
            warn_of_cpu(self.name, device, "its scores are given")
            return self
        return replace(self, inner=self.inner.on(device))

    def transposed(self) -> ChosenFeatures:
        """Exchange rows and columns."""
        return replace(self, inner=self.inner.transposed(), rows=self.cols, cols=self.rows, shape=self.shape[::-1])

    @cached_property
    def _row_place(self) -> IntArray:
        return _spread(np.arange(self.rows.size), self.rows, self.shape[0], -1)

    @cached_property
    def _col_place(self) -> IntArray:
        return _spread(np.arange(self.cols.size), self.cols, self.shape[1], -1)


def _spread(values: Any, features: IntArray, n: int, elsewhere: Any) -> Any:
    """Put values of features into an array of the whole dictionary."""
    out = np.full((n, *values.shape[1:]), elsewhere, values.dtype)
    out[features] = values
    return out


def _spread_lists(best: Best, features: IntArray, partners: IntArray, n: int) -> Best:
    """Renumber lists of best partners, and give all other features empty ones."""
    named = np.append(partners, -1)[best.partner]  # -1, no partner, takes the last
    lists = (named, -1), (best.key, -np.inf), (best.score, np.nan)
    return Best(*(_spread(values, features, n, elsewhere) for values, elsewhere in lists))

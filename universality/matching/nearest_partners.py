"""Each feature's best partner, in both directions, with replacement: partners may be claimed by several."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.similarity import Similarity
from universality.similarity.engine.block_source import TopK


@dataclass(frozen=True, eq=False)
class Nearest:
    """Best partners of all rows and all columns.

    Parameters
    ----------
    best_col, best_col_score
        [n_rows] the best column of each row and its score; -1 and NaN for dead rows.
    best_row, best_row_score
        [n_cols] the best row of each column and its score; -1 and NaN for dead columns.
    """

    best_col: IntArray
    best_col_score: FloatArray
    best_row: IntArray
    best_row_score: FloatArray

    @classmethod
    def of(cls, known: tuple[TopK, TopK]) -> Nearest:
        """The first of each list of ``sim.topk(k, axis=None)``."""
        (col, col_score), (row, row_score) = known
        return cls(col[:, 0].copy(), col_score[:, 0].copy(), row[:, 0].copy(), row_score[:, 0].copy())

    @property
    def collisions(self) -> dict[str, int]:
        """How many rows (columns) would lose their best column (row) if each could be had once."""
        return {"rows": _claimed_again(self.best_col), "cols": _claimed_again(self.best_row)}

    def is_row_best(self, rows: IntArray, cols: IntArray) -> BoolArray:
        """[n_pairs] whether the column is the row's best."""
        return self.best_col[rows] == cols

    def is_col_best(self, rows: IntArray, cols: IntArray) -> BoolArray:
        """[n_pairs] whether the row is the column's best."""
        return self.best_row[cols] == rows


def nearest(sim: Similarity) -> Nearest:
    """Best partners from one pass over the blocks; of equal scores the lower index wins."""
    return Nearest.of(sim.topk(1, axis=None))


def nearest_pairs(best: Nearest) -> tuple[IntArray, IntArray]:
    """(rows, cols): every living row with its best column."""
    rows = np.flatnonzero(best.best_col >= 0).astype(np.int64)
    return rows, best.best_col[rows]


def _claimed_again(partner: IntArray) -> int:
    found = partner[partner >= 0]
    return int(found.size - np.unique(found).size)

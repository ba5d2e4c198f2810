"""Best partner of each feature in both directions, with replacement, and pairs that are each other's best."""

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
    def of(cls, lists: tuple[TopK, TopK]) -> Nearest:
        """Take the first partner of each list of ``sim.topk(k, axis=None)``."""
        (col, col_score), (row, row_score) = lists
        return cls(col[:, 0].copy(), col_score[:, 0].copy(), row[:, 0].copy(), row_score[:, 0].copy())

    @property
    def collisions(self) -> dict[str, int]:
        """Number of rows (cols) that would lose their best partner if each partner could be used only once."""
        return {"rows": _claimed_again(self.best_col), "cols": _claimed_again(self.best_row)}

    def is_row_best(self, rows: IntArray, cols: IntArray) -> BoolArray:
        """Flag the pairs [n_pairs] whose column is the row's best."""
        return self.best_col[rows] == cols

    def is_col_best(self, rows: IntArray, cols: IntArray) -> BoolArray:
        """Flag the pairs [n_pairs] whose row is the column's best."""
        return self.best_row[cols] == rows


def nearest(sim: Similarity) -> Nearest:
    """Find the best partners in one pass over the blocks; of equal scores the lower index wins.

    Examples
    --------
    >>> best = nearest(Similarity.from_dense(np.array([[0.9, 0.1], [0.8, 0.2]])))
    >>> best.best_col, best.best_row, best.collisions
    (array([0, 0]), array([0, 1]), {'rows': 1, 'cols': 0})
    """
    return Nearest.of(sim.topk(1, axis=None))


def nearest_pairs(best: Nearest) -> tuple[IntArray, IntArray]:
    """Pair every living row with its best column: (rows, cols)."""
    rows = np.flatnonzero(best.best_col >= 0).astype(np.int64)
    return rows, best.best_col[rows]


def mutual_pairs(best: Nearest) -> tuple[IntArray, IntArray]:
    """Pair the rows and columns that are each other's best: (rows, cols)."""
    rows, cols = nearest_pairs(best)
    mutual = best.is_col_best(rows, cols)
    return rows[mutual], cols[mutual]


def _claimed_again(partner: IntArray) -> int:
    """Count the claims on a partner beyond its first."""
    claims = partner[partner >= 0]
    return int(claims.size - np.unique(claims).size)

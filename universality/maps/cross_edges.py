"""Edges between two models: pairs of features more alike than re-paired text ever makes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.similarity.engine.block_source import TopK


@dataclass(frozen=True, eq=False)
class CrossEdges:
    """Edges from features of A (rows) to features of B (columns).

    Parameters
    ----------
    rows, cols
        int64 [n_edges] features.
    r
        float64 [n_edges] similarity on the half of the documents that chooses partners.
    excess
        float64 [n_edges] how far r exceeds the null: 0 at the larger of the two features' thresholds, 1 at r = 1.
    """

    rows: IntArray
    cols: IntArray
    r: FloatArray
    excess: FloatArray

    def __len__(self) -> int:
        return int(self.rows.size)

    def take(self, chosen: IntArray | BoolArray) -> CrossEdges:
        """Keep some edges."""
        return CrossEdges(self.rows[chosen], self.cols[chosen], self.r[chosen], self.excess[chosen])

    def without(self, rows: IntArray, cols: IntArray) -> CrossEdges:
        """Leave out the edges of given pairs."""
        n_cols = 1 + int(max(self.cols.max(initial=0), cols.max(initial=0)))
        return self.take(~np.isin(self.rows * n_cols + self.cols, rows * n_cols + cols))

    def above_null(self) -> CrossEdges:
        """Keep the edges whose r exceeds the thresholds of both features."""
        return self.take(self.excess > 0)

    def strongest(self, like: CrossEdges) -> CrossEdges:
        """Keep as many edges as ``like`` has, the farthest above their null, and give them its excesses.

        Whatever a graph of them shows is then no matter of having fewer or weaker edges.
        """
        order = np.argsort(-self.excess, kind="stable")[: len(like)]
        excess = np.sort(like.excess)[::-1][: order.size]
        return CrossEdges(self.rows[order], self.cols[order], self.r[order], excess)


def listed_edges(lists: tuple[TopK, TopK], thresholds: tuple[FloatArray, FloatArray]) -> CrossEdges:
    """Collect the pairs of both sides' lists of best partners, each once.

    Parameters
    ----------
    lists
        ``similarity.topk(k, axis=None)``: partners of each row, and of each column.
    thresholds
        [n_rows] and [n_cols] r that chance gives to each feature; NaN for features that fire too rarely to tell, which
        get no edge.

    Examples
    --------
    >>> lists = (np.array([[0], [1]]), np.array([[0.9], [0.2]])), (np.array([[0], [0]]), np.array([[0.9], [0.6]]))
    >>> edges = listed_edges(lists, (np.full(2, 0.5), np.full(2, 0.5)))
    >>> edges.rows.tolist(), edges.cols.tolist(), edges.excess.round(2).tolist()
    ([0, 0, 1], [0, 1, 1], [0.8, 0.2, -0.6])
    """
    (of_rows, r_rows), (of_cols, r_cols) = lists
    n_cols = len(of_cols)
    rows = np.concatenate([np.repeat(np.arange(len(of_rows)), of_rows.shape[1]), of_cols.ravel()])
    cols = np.concatenate([of_rows.ravel(), np.repeat(np.arange(n_cols), of_cols.shape[1])])
    r = np.concatenate([r_rows.ravel(), r_cols.ravel()])
    present = np.flatnonzero((rows >= 0) & (cols >= 0))
    once = present[np.unique(rows[present] * n_cols + cols[present], return_index=True)[1]]
    rows, cols, r = rows[once].astype(np.int64), cols[once].astype(np.int64), r[once]
    threshold = np.maximum(np.maximum(thresholds[0][rows], thresholds[1][cols]), 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = np.where(threshold < 1, (r - threshold) / (1 - threshold), -np.inf)
    known = ~np.isnan(threshold)
    return CrossEdges(rows[known], cols[known], r[known], excess[known])


def lone_features(
    lists: tuple[TopK, TopK], thresholds: tuple[FloatArray, FloatArray], edges: CrossEdges
) -> tuple[BoolArray, BoolArray]:
    """Find the features that fire often enough to tell and resemble none of the other model above chance.

    A feature has no edge to one that fires too rarely to tell, though the two may be the same. Where its r with such a
    feature exceeds its own threshold, it does not count as alone.

    Parameters
    ----------
    lists, thresholds
        As for `listed_edges`.
    edges
        Edges above the null.

    Returns
    -------
    tuple of bool [n_rows], [n_cols]

    Examples
    --------
    The first row resembles a column that fires too rarely; the second resembles none.

    >>> lists = (np.array([[0], [1]]), np.array([[0.9], [0.2]])), (np.array([[0], [1]]), np.array([[0.9], [0.2]]))
    >>> thresholds = np.full(2, 0.5), np.array([np.nan, 0.5])
    >>> [alone.tolist() for alone in lone_features(lists, thresholds, listed_edges(lists, thresholds).above_null())]
    [[False, True], [False, True]]
    """
    (of_rows, r_rows), (of_cols, r_cols) = lists
    rows = _alone(of_rows, r_rows, thresholds[0], thresholds[1], edges.rows)
    return rows, _alone(of_cols, r_cols, thresholds[1], thresholds[0], edges.cols)


def _alone(
    partners: IntArray, r: FloatArray, threshold: FloatArray, of_partners: FloatArray, ends: IntArray
) -> BoolArray:
    rare = (partners >= 0) & np.isnan(of_partners)[partners]
    perhaps = (rare & (r > threshold[:, None])).any(axis=1)
    alone: BoolArray = ~np.isnan(threshold) & ~perhaps
    alone[ends] = False
    return alone

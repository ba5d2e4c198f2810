"""Order and ticks of matched pairs along the sides of a matrix: by rank, or clustered."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from universality.arrays import IntArray
from universality.formatting import count

Matrix = np.ndarray[Any, np.dtype[np.floating[Any]]]


def rank_ticks(axes: Axes, n: int, n_ranks: int) -> None:
    """Write ranks along both sides: cell i of n has rank i (n_ranks - 1) / (n - 1) + 1."""
    step = (n_ranks - 1) / (n - 1) if n > 1 else 1.0
    nice = np.asarray(MaxNLocator(4, integer=True).tick_values(1, max(n_ranks, 2)))
    ranks = np.unique(np.concatenate([[1], nice[(nice > 1) & (nice <= n_ranks)]]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks((ranks - 1) / step)
        axis.set_major_formatter(FuncFormatter(lambda place, _: count(round(place * step + 1))))


def name_sides(axes: Axes, names: tuple[str, str], order: str) -> None:
    """Name the sides of a matrix of pairs, whose rows are in some order and columns in the same."""
    axes.set_xlabel(f"partner in {names[1]}, in the same order")
    axes.set_ylabel(f"feature of {names[0]}, {order}")


def cluster_order(matrix: Matrix) -> IntArray:
    """Order pairs [n, n] by an average-linkage tree over 1 - r, with r averaged over both directions."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(matrix) < 3:
        return np.arange(len(matrix))
    # r between feature i and the partner of j differs from the reverse; linkage needs one symmetric distance
    r = np.nan_to_num((matrix + matrix.T).astype(np.float64) / 2)
    distance = np.clip(1 - r, 0, 2)  # rounding can make r slightly larger than 1
    np.fill_diagonal(distance, 0)
    return np.asarray(leaves_list(linkage(squareform(distance, checks=False), "average")), dtype=np.int64)

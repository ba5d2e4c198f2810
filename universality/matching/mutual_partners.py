"""Pairs that are each other's best partner."""

from __future__ import annotations

from universality.arrays import IntArray
from universality.matching.nearest_partners import Nearest, nearest_pairs


def mutual_pairs(best: Nearest) -> tuple[IntArray, IntArray]:
    """(rows, cols) of the rows whose best column has them as its best row."""
    rows, cols = nearest_pairs(best)
    kept = best.is_col_best(rows, cols)
    return rows[kept], cols[kept]

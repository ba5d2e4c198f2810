"""Best partners of large dictionaries in units of rows: each unit returns lists, never the scores of all its pairs.

A unit scores some rows with all columns. It returns the best columns of its rows, and those of its rows that may be
among the best of a column: such a row beats the last entry of the column's list so far. From unit to unit fewer do, so
that little travels, and what a unit leaves out could not have entered.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from universality.arrays import FloatArray, IntArray
from universality.compiled import on_all_threads
from universality.execution import SERIAL, Shared, run_units
from universality.similarity.engine.best_partners import (
    beaten_by_background,
    enter_cols,
    scan_cols,
    scan_rows,
)
from universality.similarity.engine.block_source import Best

if TYPE_CHECKING:
    from universality.similarity.engine.token_source import TokenSource

LISTED_ROWS = 1 << 14  # rows of a unit that lists co-firings: 64 units of a dictionary of 1,048,576 features
_preparing = Lock()


class _UnitBest(NamedTuple):
    """Lists of a unit's rows [n, k], and entries of columns' lists: columns, rows and scores [n_entries]."""

    by_row: Best
    cols: IntArray
    rows: IntArray
    scores: FloatArray


def best_in_units(
    source: TokenSource, k: int, offset: FloatArray, threshold: FloatArray, both: bool
) -> tuple[Best, Best | None]:
    """Find what `universality.similarity.engine.best_partners.best_of_blocks` finds, with the source's executor."""
    if source.listed and source.executor is SERIAL:  # the rows share the columns' lists: nothing is entered twice
        by_row, by_col = source.best_listed(k, offset, threshold, np.full(source.shape[1], -np.inf) if both else None)
    else:
        by_col = Best.empty(source.shape[1], k) if both else None
        by_row = _pass_over_rows(source, k, offset, threshold, by_col)
    if by_col is None:
        return by_row, None
    if source.listed:
        _add_background(source, k, offset, threshold, by_col)
    return by_row, by_col.without(offset == np.inf)


def _pass_over_rows(
    source: TokenSource, k: int, offset: FloatArray, threshold: FloatArray, by_col: Best | None
) -> Best:
    """Return the lists of all rows, and update those of the columns."""
    by_row, wanted = Best.empty(source.shape[0], k), np.flatnonzero(threshold < np.inf)
    step = LISTED_ROWS if source.listed else source.rows_per_block
    parts = [wanted[low : low + step] for low in range(0, wanted.size, step)]

    def units() -> Iterator[tuple[IntArray, FloatArray, FloatArray | None]]:
        for rows in parts:
            yield rows, threshold[rows], None if by_col is None else by_col.key[:, -1].copy()

    given = source.shared, Shared((k, offset))
    found = run_units(source.executor, _best_of_rows, units(), *given, desc="best partners", total=len(parts))
    for rows, unit in zip(parts, found, strict=True):
        for column, values in zip(by_row, unit.by_row, strict=True):
            column[rows] = values
        if by_col is not None:
            enter_cols(unit.cols, unit.rows, unit.scores, *by_col)
    return by_row


def _best_of_rows(
    source: TokenSource,
    given: tuple[int, FloatArray],
    rows: IntArray,
    threshold: FloatArray,
    floor: FloatArray | None,
) -> _UnitBest:
    """Find the best partners of some rows, and the entries that may enter columns' lists: scores above ``floor``."""
    k, offset = given
    if source.listed:
        with _preparing:  # units in threads share the copies that the first of them makes
            source.moments.row_sums(source.needs)
        everywhere = np.full(source.shape[0], np.inf)
        everywhere[rows] = threshold
        lists, by_col = source.best_listed(k, offset, everywhere, floor)
        by_row = Best(lists.partner[rows], lists.key[rows], lists.score[rows])
    else:
        by_row, block = Best.empty(rows.size, k), source.block(rows)
        on_all_threads(scan_rows, block, np.arange(rows.size), offset, threshold, *by_row)
        by_col = None if floor is None else _lists_above(floor, k)
        if by_col is not None:
            on_all_threads(scan_cols, block, rows, *by_col)
    if by_col is None or floor is None:
        nothing = np.zeros(0, np.int64)
        return _UnitBest(by_row, nothing, nothing, np.zeros(0))
    cols, place = np.nonzero((by_col.partner >= 0) & (by_col.key > floor[:, None]))
    return _UnitBest(by_row, cols, by_col.partner[cols, place], by_col.key[cols, place])


def _lists_above(floor: FloatArray, k: int) -> Best:
    """Columns' lists that only scores above ``floor`` enter; scores are keys, so one array serves for both."""
    key = np.repeat(floor[:, None], k, axis=1)
    return Best(np.full(key.shape, -1, np.int64), key, key)


def _add_background(source: TokenSource, k: int, offset: FloatArray, threshold: FloatArray, by_col: Best) -> None:
    """Compute again, from their own side, the lists of columns that pairs which never fire together may belong into.

    The rows' pass leaves out columns' background scores. They matter only for columns that fire together with too few
    rows to fill their lists: a handful, found by a bound.
    """
    short = beaten_by_background(by_col, source.background(), threshold < np.inf) & (offset < np.inf)
    if not short.any():
        return
    dead_rows = np.where(threshold < np.inf, 0.0, np.inf)
    lists = _pass_over_rows(source.transposed(), k, dead_rows, np.where(short, -np.inf, np.inf), None)
    for column, values in zip(by_col, lists, strict=True):
        column[short] = values[short]

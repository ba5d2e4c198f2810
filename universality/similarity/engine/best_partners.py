"""The k best partners of every row or column, updated while a matrix passes by in blocks or in lists.

One order everywhere: the larger key first, of equal keys the lower index. A key is the score minus an offset of the
partner (a price, in an assignment; 0 otherwise), and only keys above a row's threshold count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.compiled import njit, on_all_threads, share_out_lazily
from universality.progress import progress
from universality.similarity.engine.block_source import Best, BlockSource
from universality.similarity.engine.cache_lines import prefetch
from universality.similarity.engine.cofiring import AHEAD, list_row

HALVINGS = 30  # at most, to find the k-th largest key of a row
MANY = 4  # times k: candidates beyond which ranking each among all would take longer than inserting them


@njit(cache=True, nogil=True, error_model="numpy")
def _insert(index, key, score, q, c, v, s):  # type: ignore[no-untyped-def]
    """Insert partner ``c`` into one row [k] at place ``q`` or before; the caller knows that it is better than q's."""
    while q > 0 and (v > key[q - 1] or (v == key[q - 1] and c < index[q - 1])):
        index[q], key[q], score[q] = index[q - 1], key[q - 1], score[q - 1]
        q -= 1
    index[q], key[q], score[q] = c, v, s


@njit(cache=True, nogil=True, error_model="numpy")
def scan_rows(worker, workers, block, rows, offset, threshold, index, key, score):  # type: ignore[no-untyped-def]
    """Enter the better columns of a dense block [n, n_cols] of ``rows`` into the rows' lists; a range of rows each."""
    n = block.shape[0]
    for r in range(worker * n // workers, (worker + 1) * n // workers):
        i = rows[r]
        least = max(threshold[i], key[i, -1])
        for c in range(block.shape[1]):
            v = block[r, c] - offset[c]
            if v > least:  # columns rise, so an equal key has the higher index and stays out
                _insert(index[i], key[i], score[i], key.shape[1] - 1, c, v, block[r, c])
                least = max(threshold[i], key[i, -1])


@njit(cache=True, nogil=True, error_model="numpy")
def scan_cols(worker, workers, block, rows, index, key, score):  # type: ignore[no-untyped-def]
    """Enter the better rows of a dense block into the columns' lists; ``rows`` rise from call to call.

    A worker has a range of columns: no list has two writers, and rows are read in order.
    """
    n = block.shape[1]
    for r in range(block.shape[0]):
        for c in range(worker * n // workers, (worker + 1) * n // workers):
            v = block[r, c]
            if v > key[c, -1]:
                _insert(index[c], key[c], score[c], key.shape[1] - 1, rows[r], v, v)


@njit(cache=True, nogil=True, error_model="numpy")
def _kth_largest(x, k):  # type: ignore[no-untyped-def]
    """The k-th largest of ``x``, which is reordered: its first k values are the largest (Hoare's quickselect)."""
    low, high = 0, x.size - 1
    while low < high:
        pivot = x[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while x[i] > pivot:
                i += 1
            while x[j] < pivot:
                j -= 1
            if i <= j:
                x[i], x[j] = x[j], x[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            high = j
        elif k - 1 >= i:
            low = i
        else:
            break
    return x[k - 1]


class _Wanted(NamedTuple):
    """Rule by which columns enter the rows' lists: keys are scores - ``offset``, above the row's ``threshold``."""

    offset: FloatArray
    """[n_cols], inf for dead columns."""
    threshold: FloatArray
    """[n_rows], inf for rows that are not wanted."""
    x: FloatArray
    """[n_rows] pairs that are not listed score -x_i y_j."""
    y: FloatArray
    """[n_cols]."""
    orders: tuple[IntArray, IntArray, IntArray]
    """Living columns by rising y, by falling y, and by index."""
    level: float
    """Least offset of a living column."""
    by_offset: IntArray
    """Living columns by rising offset; none if all offsets are the level."""

    @classmethod
    def of(cls, offset: FloatArray, threshold: FloatArray, background: tuple[FloatArray, FloatArray]) -> _Wanted:
        """Sort the living columns."""
        x, y = background
        living = np.flatnonzero(offset < np.inf)
        orders = (living[np.argsort(y[living], kind="stable")], living[np.argsort(-y[living], kind="stable")], living)
        level = float(offset[living].min()) if living.size else 0.0
        priced = bool((offset[living] > level).any())
        by_offset = living[np.argsort(offset[living], kind="stable")] if priced else living[:0]
        return cls(offset, threshold, x, y, orders, level, by_offset)


@njit(cache=True, nogil=True, error_model="numpy")
def _reached(keys, k):  # type: ignore[no-untyped-def]
    """Find a bound that at least k of the finite ``keys`` reach, and seldom many more; -inf if there are fewer.

    Counting is cheap beside sorting: it needs no branches, so that a processor counts several keys at once.
    """
    if keys.size < k:
        return -np.inf
    low, high = keys.min(), keys.max()
    for _ in range(HALVINGS):
        # Most keys are small: the k-th largest lies nearer to the least one than to the largest.
        middle, n = low + (high - low) / 4, 0
        for v in keys:
            n += v >= middle
        if n < k:
            high = middle
        else:
            low = middle
            if n <= k + k // 4:
                break
    return low


@njit(cache=True, nogil=True, error_model="numpy")
def _enter_candidates(i, n, wanted, room, index, key, score):  # type: ignore[no-untyped-def]
    """Enter the best of the first n candidates of ``room``, whose keys exceed the threshold, into an empty row."""
    cols, values, keys, k, m = room.cols, room.values, room.keys, key.shape[1], 0
    least = _reached(keys[:n], k)
    for q in range(n):
        cols[m], values[m], keys[m] = cols[q], values[q], keys[q]
        m += keys[q] >= least
    if m > MANY * k:  # of many equal keys
        place = 0
        for q in range(m):
            if keys[q] > key[i, -1] or (keys[q] == key[i, -1] and cols[q] < index[i, -1]):
                _insert(index[i], key[i], score[i], place, cols[q], keys[q], values[q])
                place = min(place + 1, k - 1)
        return
    for q in range(m):
        rank = _rank(keys[q], cols[q], keys[:m], cols[:m])
        if rank < k:
            index[i, rank], key[i, rank], score[i, rank] = cols[q], keys[q], values[q]


@njit(cache=True, nogil=True, error_model="numpy")
def _rank(v, c, keys, cols):  # type: ignore[no-untyped-def]
    """Count the keys before ``v`` of column ``c``: comparisons without branches, several of them at once."""
    rank, equal = 0, 0
    for w in keys:
        rank += w > v
        equal += w == v
    if equal > 1:
        for p in range(keys.size):
            rank += keys[p] == v and cols[p] < c
    return rank


@njit(cache=True, nogil=True, error_model="numpy")
def _falling(i, wanted):  # type: ignore[no-untyped-def]
    """Columns in an order in which the scores -x_i y_c of pairs that are not listed only fall."""
    return wanted.orders[0] if wanted.x[i] > 0 else wanted.orders[1] if wanted.x[i] < 0 else wanted.orders[2]


@njit(cache=True, nogil=True, error_model="numpy")
def _too_low(v, i, wanted, key):  # type: ignore[no-untyped-def]
    """Tell whether no key up to ``v`` enters the list of row ``i``; at its last key a lower index still could."""
    return v < key[i, -1] or v <= wanted.threshold[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _background_may_enter(i, wanted, key):  # type: ignore[no-untyped-def]
    """Tell whether a pair that is not listed may belong into the list of row ``i``: seldom, where lists are full."""
    order = _falling(i, wanted)
    return order.size > 0 and not _too_low(-wanted.x[i] * wanted.y[order[0]] + 0.0 - wanted.level, i, wanted, key)


@njit(cache=True, nogil=True, error_model="numpy")
def _enter_background(i, cols, wanted, seen, index, key, score):  # type: ignore[no-untyped-def]
    """Enter the pairs of row ``i`` that are not among the listed columns ``cols``."""
    _mark(seen, cols, True)
    if wanted.by_offset.size:
        _enter_by_offset(i, wanted, seen, index, key, score)
    else:
        _enter_by_score(i, wanted, seen, index, key, score)
    _mark(seen, cols, False)  # entry by entry: clearing the whole array would cost n_cols a row


@njit(cache=True, nogil=True, error_model="numpy")
def _enter_by_score(i, wanted, seen, index, key, score):  # type: ignore[no-untyped-def]
    """Enter columns that are not ``seen``, from the best score on; all offsets are the level."""
    for c in _falling(i, wanted):
        s = -wanted.x[i] * wanted.y[c] + 0.0  # + 0.0: no negative zero
        v = s - wanted.level
        if _too_low(v, i, wanted, key):
            break
        if seen[c]:
            continue
        if v == key[i, -1] and c > index[i, -1]:
            break  # later ones have no larger key, and among columns of one y a stable order leaves higher indices
        _insert(index[i], key[i], score[i], key.shape[1] - 1, c, v, s)


@njit(cache=True, nogil=True, error_model="numpy")
def _enter_by_offset(i, wanted, seen, index, key, score):  # type: ignore[no-untyped-def]
    """Enter columns that are not ``seen``, from the least offset on.

    Prices of an assignment differ by much more than scores of features that never fire together. In the order of the
    scores, rows that gain less than nothing would visit all columns.
    """
    highest = -wanted.x[i] * wanted.y[_falling(i, wanted)[0]] + 0.0
    for c in wanted.by_offset:
        if _too_low(highest - wanted.offset[c], i, wanted, key):
            break
        s = -wanted.x[i] * wanted.y[c] + 0.0
        v, last = s - wanted.offset[c], key[i, -1]
        if not seen[c] and v > wanted.threshold[i] and (v > last or (v == last and c < index[i, -1])):
            _insert(index[i], key[i], score[i], key.shape[1] - 1, c, v, s)


class _Room(NamedTuple):
    """Working memory of one thread, for one row at a time."""

    seen: BoolArray
    """[n_cols] False before and after."""
    total: FloatArray
    """[n_cols] sums, 0 before and after."""
    cols: npt.NDArray[np.uint32]
    """[n_cols + 1] the listed columns."""
    values: FloatArray
    """[n_cols + 1] their sums, then their scores."""
    keys: FloatArray
    """[n_cols + 1]."""

    @classmethod
    def empty(cls, n_cols: int) -> _Room:
        """Room for rows of ``n_cols``."""
        values, keys = np.empty((2, n_cols + 1))
        return cls(np.zeros(n_cols, bool), np.zeros(n_cols), np.empty(n_cols + 1, np.uint32), values, keys)


@njit(cache=True, nogil=True, error_model="numpy")
def _mark(seen, cols, value):  # type: ignore[no-untyped-def]
    for c in cols:
        seen[c] = value


@njit(cache=True, nogil=True, error_model="numpy")
def _enlarged(found, n, more):  # type: ignore[no-untyped-def]
    """Give ``found`` (row, col, score), of which n pairs are in use, room for ``more``."""
    if n + more <= found[0].size:
        return found
    size = 2 * (n + more)
    row, col, score = np.empty(size, np.int32), np.empty(size, np.uint32), np.empty(size)
    row[:n], col[:n], score[:n] = found[0][:n], found[1][:n], found[2][:n]
    return row, col, score


@njit(cache=True, nogil=True, error_model="numpy")
def enter_entries(rows, entries, table, both, wanted, room, index, key, score):  # type: ignore[no-untyped-def]
    """Enter the scores of some rows into their lists; return the pairs that may enter a column's (row, col, score).

    If ``both`` are wanted, such a pair must exceed ``table[col, 1]``.
    """
    indptr, cols, values = entries
    found, n_found = (np.empty(0, np.int32), np.empty(0, np.uint32), np.empty(0)), 0
    for r in range(rows.size):
        i, n, own, scores = rows[r], 0, cols[indptr[r] : indptr[r + 1]], values[indptr[r] : indptr[r + 1]]
        found = _enlarged(found, n_found, own.size)
        for c, v in zip(own, scores):  # noqa: B905 - numba has no `strict`
            if both and v > table[c, 1]:
                found[0][n_found], found[1][n_found], found[2][n_found] = i, c, v
                n_found += 1
            room.cols[n], room.values[n], room.keys[n] = c, v, v - wanted.offset[c]
            n += room.keys[n] > wanted.threshold[i]
        _enter_candidates(i, n, wanted, room, index, key, score)
        if _background_may_enter(i, wanted, key):
            _enter_background(i, own, wanted, room.seen, index, key, score)
    return found[0][:n_found], found[1][:n_found], found[2][:n_found]


@njit(cache=True, nogil=True, error_model="numpy")
def enter_products(rows, columns, lines, s, table, both, wanted, room, index, key, score):  # type: ignore[no-untyped-def]
    """Do as `enter_entries` for scores s_i t_j sum - x_i y_j, clipped to ±1, while a row of sums is in the cache.

    ``table`` [n_cols, 2] holds t_j and beside it what a pair must exceed, or the offset if ``both`` are not wanted.
    Most pairs look up nothing else, since s_i t_j sum and the largest -x_i y_j together are too low.
    """
    x, y, cols, values = wanted.x, wanted.y, room.cols, room.values
    y_low, y_high = y.min(), y.max()
    found, n_found = (np.empty(0, np.int32), np.empty(0, np.uint32), np.empty(0)), 0
    for i in rows:
        highest = max(-x[i] * y_low, -x[i] * y_high)
        size = list_row(i, columns, lines, room.total, cols, values)
        found = _enlarged(found, n_found, size)
        size, n = _picked(i, size, s[i], key.shape[1], table, both, highest, wanted, room), 0
        for q in range(size):
            c = cols[q]
            v = min(max(values[q] - x[i] * y[c], -1.0), 1.0)
            if both and v > table[c, 1]:
                found[0][n_found], found[1][n_found], found[2][n_found] = i, c, v
                n_found += 1
            cols[n], values[n], room.keys[n] = c, v, v - wanted.offset[c]
            n += room.keys[n] > wanted.threshold[i]
        _enter_candidates(i, n, wanted, room, index, key, score)
        if _background_may_enter(i, wanted, key):
            size = list_row(i, columns, lines, room.total, cols, values)
            _enter_background(i, cols[:size], wanted, room.seen, index, key, score)
    return found[0][:n_found], found[1][:n_found], found[2][:n_found]


@njit(cache=True, nogil=True, error_model="numpy")
def _picked(i, size, s, k, table, both, highest, wanted, room):  # type: ignore[no-untyped-def]
    """Keep those of ``size`` listed sums that may enter a list, as s_i t_j sum, and return their number.

    The first of them give a bound of the row's list. Places of entries that do not pass are written over: there is no
    branch to mispredict.
    """
    cols, values, keys, n, least = room.cols, room.values, room.keys, 0, wanted.threshold[i]
    if least == -np.inf:
        for q in range(min(size, max(MANY * k, size // 8))):
            c = cols[q]
            score = values[q] * s * table[c, 0] - wanted.x[i] * wanted.y[c]
            keys[n] = min(max(score, -1.0), 1.0) - wanted.offset[c]
            n += keys[n] > -np.inf
        n, least = 0, _reached(keys[:n], k)
    for q in range(size):
        c = cols[q]
        scaled, other = values[q] * s * table[c, 0], table[c, 1]
        top = max(scaled + highest, -1.0)  # rounding is monotone: no smaller than the score
        cols[n], values[n] = c, scaled
        if both:
            n += (top > other) | (top >= least)
        else:
            n += top - other >= least
    return n


class _Unsorted(NamedTuple):
    """The best rows of each column so far, in the order of the rows, among up to k more that came later."""

    partner: npt.NDArray[np.int32]
    """[n_cols, 2 k]."""
    key: FloatArray
    """[n_cols, 2 k]."""
    size: npt.NDArray[np.int32]
    """[n_cols] places in use."""
    table: FloatArray
    """[n_cols, 2] scales of the columns' scores (see `enter_products`), and in ``table[:, 1]`` what a key must exceed.

    A thread that reads that late finds a lower one, and picks out more.
    """

    @classmethod
    def empty(cls, n: int, k: int, table: FloatArray) -> _Unsorted:
        """Lists without rows."""
        return cls(np.empty((n, 2 * k), np.int32), np.empty((n, 2 * k)), np.zeros(n, np.int32), table)

    def best(self) -> Best:
        """Sort the lists."""
        sorted_ = Best.empty(self.size.size, self.key.shape[1] // 2)
        on_all_threads(_sort_cols, self, *sorted_)
        return sorted_


@njit(cache=True, nogil=True, error_model="numpy")
def _enter_cols(row, col, score, lists):  # type: ignore[no-untyped-def]
    """Enter pairs into the columns' lists; rows rise, so of equal keys the first ones stay."""
    index, key, size, table = lists
    k, scratch = key.shape[1] // 2, np.empty(key.shape[1])
    places, keys = index.ravel(), key.ravel()
    for q in range(row.size):
        if q + 2 * AHEAD < row.size:  # lists are met in any order: fetch them ahead of time
            prefetch(size, col[q + 2 * AHEAD])
            later = col[q + AHEAD]
            prefetch(places, later * index.shape[1] + size[later])
            prefetch(keys, later * index.shape[1] + size[later])
        i, c, v = row[q], col[q], score[q]
        if v > table[c, 1]:
            index[c, size[c]], key[c, size[c]] = i, v
            size[c] += 1
            if size[c] == key.shape[1]:
                table[c, 1] = _halve(index[c], key[c], scratch)
                size[c] = k


@njit(cache=True, nogil=True, error_model="numpy")
def _halve(index, key, scratch):  # type: ignore[no-untyped-def]
    """Keep the better half of a full list, in order, and return its least key."""
    k = key.size // 2
    scratch[:] = key
    least = _kth_largest(scratch, k)
    equal = k  # places for rows whose key is the least one
    for v in key:
        equal -= v > least
    n = 0
    for q in range(key.size):
        if key[q] > least or (key[q] == least and equal > 0):
            equal -= key[q] == least
            index[n], key[n] = index[q], key[q]
            n += 1
    return least


@njit(cache=True, nogil=True, error_model="numpy")
def _sort_cols(worker, workers, lists, index, key, score):  # type: ignore[no-untyped-def]
    """Write the k best of each list, best first."""
    k, scratch = key.shape[1], np.empty(2 * key.shape[1])
    for c in range(worker * index.shape[0] // workers, (worker + 1) * index.shape[0] // workers):
        size = lists.size[c]
        if size > k:
            lists.key[c, size:] = -np.inf
            _halve(lists.partner[c], lists.key[c], scratch)
        for q in range(min(size, k)):
            v = lists.key[c, q]
            _insert(index[c], key[c], score[c], q, lists.partner[c, q], v, v)


@njit(cache=True, nogil=True, error_model="numpy")
def enter_cols(cols, rows, scores, index, key, score):  # type: ignore[no-untyped-def]
    """Enter the better of some entries [n] into the columns' lists; rows rise from call to call."""
    for e in range(cols.size):
        c = cols[e]
        if scores[e] > key[c, -1]:
            _insert(index[c], key[c], score[c], key.shape[1] - 1, rows[e], scores[e], scores[e])


def best_of_blocks(
    source: BlockSource, k: int, offset: FloatArray, threshold: FloatArray, both: bool
) -> tuple[Best, Best | None]:
    """Find the k best columns of each row, and rows of each column if ``both``, in one pass.

    Parameters
    ----------
    source
        The scores.
    k
        Length of the lists.
    offset
        [n_cols] subtracted from the score in the rows' lists; inf for dead columns.
    threshold
        [n_rows] only keys above it enter the rows' lists; inf for rows that are dead or not wanted, which cost nothing.
    both
        Whether the columns' lists are wanted; their keys are the scores themselves.
    """
    n_rows, n_cols = source.shape
    by_row, by_col = Best.empty(n_rows, k), Best.empty(n_cols, k) if both else None
    wanted_rows = np.flatnonzero(threshold < np.inf)
    for low in range(0, wanted_rows.size, source.rows_per_block):
        rows = wanted_rows[low : low + source.rows_per_block]
        block = source.block(rows)
        on_all_threads(scan_rows, block, rows, offset, threshold, *by_row)
        if by_col is not None:
            on_all_threads(scan_cols, block, rows, *by_col)
    return by_row, None if by_col is None else by_col.without(offset == np.inf)


def best_of_stripes(
    stripes: list[IntArray],
    enter: Callable[..., tuple[IntArray, IntArray, FloatArray]],
    background: tuple[FloatArray, FloatArray],
    scale: FloatArray | None,
    k: int,
    offset: FloatArray,
    threshold: FloatArray,
    floor: FloatArray | None,
) -> tuple[Best, Best | None]:
    """Find the k best columns of each row of a matrix that is listed only where features fire together.

    All threads work on stripes. A row's list belongs to its stripe. What may enter the columns' lists is picked out by
    the threads and entered here, in the order of the rows, so results do not depend on the number of threads.

    Parameters
    ----------
    stripes
        Living rows, rising.
    enter
        Called with a stripe and the last arguments of `enter_entries`, does that for its rows.
    background
        x, y: pairs that are not listed score -x_i y_j.
    scale
        t [n_cols] of `enter_products`, if that is used.
    k
        Length of the lists.
    offset
        [n_cols] subtracted from the score; inf for dead columns.
    threshold
        [n_rows] only keys above it count.
    floor
        [n_cols] only scores above it enter the columns' lists, which hold listed entries alone (offset 0); None where
        no columns' lists are wanted.
    """
    both = floor is not None
    wanted = _Wanted.of(offset, threshold, background)
    table = np.empty((offset.size, 2))
    table[:, 0], table[:, 1] = 0 if scale is None else scale, offset if floor is None else floor
    by_row, by_col = Best.empty(threshold.size, k), _Unsorted.empty(offset.size if both else 0, k, table)

    def work(rows: IntArray) -> tuple[int, tuple[IntArray, IntArray, FloatArray]]:
        room = rooms.pop() if rooms else _Room.empty(offset.size)
        found = enter(rows, table, both, wanted, room, *by_row)
        rooms.append(room)
        return rows.size, found

    rooms: list[_Room] = []  # fresh memory for each stripe would take longer than the stripe
    n_rows = sum(rows.size for rows in stripes)
    with progress(total=n_rows, desc="co-firing pairs", unit="feature", leave=False) as bar:
        for n_done, found in share_out_lazily(work, stripes):
            bar.update(n_done)
            _enter_cols(*found, by_col)
    return by_row, by_col.best() if both else None


def beaten_by_background(by_col: Best, background: tuple[FloatArray, FloatArray], living_rows: BoolArray) -> BoolArray:
    """[n_cols] True where a row that a column never fires with may belong into the column's list."""
    x, y = background
    if not living_rows.any():
        return np.zeros(y.size, bool)
    # The largest background score of a column, -x_i y over the living rows, is reached at the least or the largest x.
    top = np.maximum(-x[living_rows].min() * y, -x[living_rows].max() * y)
    return np.asarray(by_col.key[:, -1] <= top)

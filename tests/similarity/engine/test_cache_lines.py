"""Token rows in cache lines hold what the rows held, and the entries that fill a line up are zeros."""

from pathlib import Path

import numpy as np
from numpy.testing import assert_array_equal
from sparse_sides import SEEN, sides

from universality.similarity.engine.cache_lines import Lines
from universality.similarity.engine.store_rows import Rows


def unpacked(lines: Lines, n_features: int) -> np.ndarray:
    """Token rows as a dense array."""
    out = np.zeros((lines.first.size - 1, n_features))
    for token in range(len(out)):
        for line in range(lines.first[token], lines.first[token + 1]):
            np.add.at(out[token], lines.features[line, 0].astype(int), lines.values[line, 1])
    return out


def test_lines_hold_the_rows_in_the_order_given_less_the_shift(tmp_path: Path) -> None:
    a, _, x, _ = sides(tmp_path, n_a=40)
    x = x.astype(np.float32)
    order = np.random.default_rng(0).permutation(SEEN.n_tokens)
    shift = np.arange(40) / 8
    lines = Lines.pack(a.source.take(order), shift)
    fires = x[order] != 0
    assert (fires.sum(axis=1) % 8 != 0).any(), "some lines are filled up"
    assert_array_equal(unpacked(lines, 40), np.where(fires, x[order] - shift.astype(np.float32), 0))
    assert_array_equal(np.diff(lines.first), np.ceil(fires.sum(axis=1) / 8))
    assert lines.features.ctypes.data % 64 == 0
    assert np.shares_memory(lines.features, lines.values)


def test_tokens_on_which_nothing_fires_take_no_line() -> None:
    indices, data = np.array([3, 1], np.uint32), np.array([2, 5], np.float32)
    rows = Rows(np.array([0, 0, 2]), np.array([0, 2, 2]), indices, data)
    lines = Lines.pack(rows, np.zeros(4))
    assert lines.first.tolist() == [0, 0, 1, 1]
    assert_array_equal(unpacked(lines, 4), [[0, 0, 0, 0], [0, 5, 0, 2], [0, 0, 0, 0]])

"""Listed sums are the entries of AᵀB, whichever loop adds them up, and no more pairs are listed than fire together."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import write_store
from sparse_sides import SEEN, sides

from universality.similarity.engine import cofiring
from universality.similarity.engine.cache_lines import Lines
from universality.similarity.engine.cofiring import Columns, RowSums
from universality.similarity.engine.side_moments import Side, measure_side
from universality.similarity.engine.store_rows import StoreRows
from universality.similarity.engine.token_kernels import transpose


def listed(a: Side, b: Side, rows: np.ndarray, masked: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """Sums as a dense array, those that are added to a dense array, and the number of listed entries."""
    sums = row_sums(a, b, masked)
    entries = sums.listed(rows)
    depth = (4,) if masked else ()
    out, added = np.zeros((*depth, rows.size, b.n_features)), np.zeros((rows.size, b.n_features, *depth))
    out[..., entries.row_of(np.arange(rows.size)), entries.cols.astype(int)] = entries.values
    for worker in range(3):
        sums.add(worker, 3, rows, np.arange(rows.size)[::-1], added)
    return out, np.moveaxis(added, -1, 0) if masked else added, entries.cols.size


def row_sums(a: Side, b: Side, masked: bool = False) -> RowSums:
    """Sums over all tokens."""
    n = a.rows.size
    columns = Columns(*transpose(*a.take(0, n), np.zeros(a.n_features), a.n_features))
    return RowSums(columns, Lines.pack(b.take(0, n), np.zeros(b.n_features)), b.n_features, masked)


@pytest.mark.parametrize("n_b", [5, 400])  # more products than columns, and fewer
def test_sums_are_the_products(tmp_path: Path, n_b: int) -> None:
    a, b, x, y = sides(tmp_path, n_b=n_b, density=0.05 if n_b > 5 else 0.3)
    rows = np.array([6, 0, 2, 3])
    products, added, n_entries = listed(a, b, rows, masked=False)
    assert_allclose(products, (x.T @ y)[rows], rtol=1e-12)
    assert_array_equal(added, products)
    assert n_entries == np.count_nonzero((x.T @ y)[rows])
    masked, added, _ = listed(a, b, rows, masked=True)
    fires_x, fires_y = (x > 0).astype(float), (y > 0).astype(float)
    sums = np.stack([x.T @ y, (x * x).T @ fires_y, fires_x.T @ (y * y), fires_x.T @ fires_y])
    assert_allclose(masked, sums[:, rows], rtol=1e-12)
    assert_array_equal(added, masked)


def test_sums_that_cancel_are_left_out_however_often_they_were_listed(tmp_path: Path) -> None:
    """Feature 0 of B meets +1, -1, +1, -1: its sum returns to 0 twice; feature 1 passes 0 and ends at 1."""
    x, y = np.zeros((SEEN.n_tokens, 1)), np.zeros((SEEN.n_tokens, 40))
    x[:5] = 1
    y[:4, 0] = [1, -1, 1, -1]
    y[:5, 1] = [1, -1, 1, -1, 1]
    rows = np.arange(SEEN.n_tokens)
    a, b = (
        measure_side(StoreRows.open(write_store(tmp_path / f"{name}.h5", z, SEEN), in_memory=True), rows)
        for name, z in (("a", x), ("b", y))
    )
    products, _, n_entries = listed(a, b, np.array([0]), masked=False)
    assert n_entries == 1
    assert products[0, 1] == 1


def test_stripes_keep_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, x, y = sides(tmp_path, n_b=400, density=0.05)
    sums = row_sums(a, b)
    longest = np.ceil((y != 0).sum(axis=1).max() / 8) * 8
    assert_array_equal(sums.most_entries, np.minimum((x != 0).sum(axis=0) * longest, 400))
    limit = int(np.sort(sums.most_entries)[-2:].sum())
    monkeypatch.setattr(cofiring, "STRIPE", limit)
    stripes = sums.stripes(np.arange(7))
    assert len(stripes) > 1
    assert_array_equal(np.concatenate(stripes), np.arange(7))
    assert max(sums.most_entries[stripe].sum() for stripe in stripes) <= limit

"""Listed sums are the entries of AᵀB, whichever loop adds them up, and no more pairs are listed than fire together."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import write_store
from sparse_sides import SEEN, sides

from universality.similarity.engine import cofiring
from universality.similarity.engine.cofiring import Columns
from universality.similarity.engine.side_moments import Side, measure_side
from universality.similarity.engine.store_rows import StoreRows
from universality.similarity.engine.token_kernels import transpose


def listed(a: Side, b: Side, rows: np.ndarray, masked: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """Sums as a dense array, where they are listed, and the number of entries."""
    n = a.rows.size
    columns = Columns(*transpose(*a.take(0, n), np.zeros(a.n_features), a.n_features))
    tokens = b.take(0, n)
    n_hits = cofiring.hits(columns.indptr, columns.position, tokens.start, tokens.stop)
    entries = cofiring.sum_rows(rows, columns, tokens, n_hits, b.n_features, masked)
    out = np.zeros((len(entries.values), rows.size, b.n_features))
    at = entries.row_of(np.arange(rows.size)), entries.cols.astype(int)
    out[:, at[0], at[1]] = entries.values
    return out, n_hits, entries.cols.size


@pytest.mark.parametrize("n_b", [5, 400])  # more products than columns, and fewer
def test_sums_are_the_products(tmp_path: Path, n_b: int) -> None:
    a, b, x, y = sides(tmp_path, n_b=n_b, density=0.05 if n_b > 5 else 0.3)
    rows = np.array([6, 0, 2, 3])
    products, n_hits, n_entries = listed(a, b, rows, masked=False)
    assert_array_equal(n_hits, ((x != 0).T @ (y != 0).sum(axis=1)).astype(int))
    assert ((n_hits[rows] > n_b).any()) == (n_b == 5)
    assert_allclose(products[0], (x.T @ y)[rows], rtol=1e-12)
    assert n_entries == np.count_nonzero((x.T @ y)[rows])
    masked, _, _ = listed(a, b, rows, masked=True)
    fires_x, fires_y = (x > 0).astype(float), (y > 0).astype(float)
    sums = np.stack([x.T @ y, (x * x).T @ fires_y, fires_x.T @ (y * y), fires_x.T @ fires_y])
    assert_allclose(masked, sums[:, rows], rtol=1e-12)


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
    products, n_hits, n_entries = listed(a, b, np.array([0]), masked=False)
    assert n_hits[0] == 9  # fewer than the 40 columns: they are listed
    assert n_entries == 1
    assert products[0, 0, 1] == 1


def test_stripes_keep_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cofiring, "STRIPE", 10)
    stripes = cofiring.stripes(np.arange(5), np.array([3, 90, 4, 4, 2]), n_cols=8)
    assert [stripe.tolist() for stripe in stripes] == [[0], [1], [2, 3, 4]]

"""Entries in any order come back by row, whether they fit into memory or not."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from universality.errors import FormatError, UniversalityError
from universality.features.importing.entry_sorter import EntrySorter


def sorted_back(coo: sparse.coo_matrix, folder: Path, budget: int) -> tuple[sparse.csr_matrix, int, bool]:
    with EntrySorter(folder, *coo.shape, budget, str) as sorter:
        for start in range(0, coo.nnz, sorter.batch):
            part = slice(start, start + sorter.batch)
            sorter.add(coo.row[part], coo.col[part], coo.data[part])
        parts = list(sorter.blocks())
        spilled = sorter._file is not None
    assert [rows.start for rows, _ in parts] == [0, *(rows.stop for rows, _ in parts[:-1])]
    return sparse.vstack([csr for _, csr in parts], format="csr"), len(parts), spilled


@pytest.mark.parametrize(("budget", "on_disk"), [(1 << 26, False), (64_000, True)])
@pytest.mark.parametrize("shuffled", [True, False])
def test_entries_come_back_by_row(tmp_path: Path, budget: int, on_disk: bool, shuffled: bool) -> None:
    matrix = sparse.random(700, 50, density=0.2, format="coo", dtype=np.float32, random_state=0)
    order = np.random.default_rng(0).permutation(matrix.nnz) if shuffled else np.lexsort((matrix.col, matrix.row))
    coo = sparse.coo_matrix((matrix.data[order], (matrix.row[order], matrix.col[order])), shape=matrix.shape)
    found, n_blocks, spilled = sorted_back(coo, tmp_path, budget)
    assert (spilled, n_blocks > 1) == (on_disk, on_disk)
    assert found.has_canonical_format
    assert_array_equal(found.toarray(), matrix.toarray())
    assert not list(tmp_path.iterdir())


def test_no_entries_and_rows_without_any(tmp_path: Path) -> None:
    found, *_ = sorted_back(sparse.coo_matrix((5, 3), dtype=np.float32), tmp_path, 64_000)
    assert found.shape == (5, 3)
    assert found.nnz == 0


@pytest.mark.parametrize("budget", [1 << 26, 64_000])
def test_a_feature_named_twice_is_refused(tmp_path: Path, budget: int) -> None:
    row = np.append(np.arange(3000) % 100, 17)
    feature = np.append(np.arange(3000) // 100, 5)
    with pytest.raises(FormatError, match="17: feature 5 is named twice"):
        sorted_back(sparse.coo_matrix((np.ones(3001, np.float32), (row, feature)), (100, 30)), tmp_path, budget)


def test_memory_stays_within_the_budget(tmp_path: Path) -> None:
    n, budget = 400_000, 4 << 20
    rng = np.random.default_rng(0)
    tracemalloc.start()
    with EntrySorter(tmp_path, 4000, 1000, budget, str) as sorter:
        for start in range(0, n, sorter.batch):
            key = rng.integers(0, 4_000_000 // n, min(sorter.batch, n - start)) + 10 * np.arange(
                start, min(start + sorter.batch, n)
            )
            sorter.add(key % 4000, key // 4000, np.ones(len(key), np.float32))
        n_found = sum(csr.nnz for _, csr in sorter.blocks())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_found == n
    assert (
        peak < 1.2 * budget
    )  # unsorted and whole, the entries alone would take 12 × 400,000 bytes, sorting four times


def test_a_budget_too_small_to_sort_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UniversalityError, match="sorting needs at least 64,000 bytes, found 63,999"):
        EntrySorter(tmp_path, 1, 1, 63_999, str)

"""Token rows are the store's, in any order, from memory and from the disk."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sparse_sides import stores

from universality.similarity.engine import store_rows
from universality.similarity.engine.store_rows import StoreRows, entries


@pytest.mark.parametrize("in_memory", [True, False])
def test_rows_in_any_order_and_twice(tmp_path: Path, in_memory: bool) -> None:
    store, _ = stores(tmp_path)
    wanted = np.array([90, 3, 3, 70, 0])
    source = StoreRows.open(store, in_memory)
    taken = source.take(wanted)
    for p, row in enumerate(store.csr()[wanted]):
        part = slice(taken.start[p], taken.stop[p])
        assert_array_equal(taken.indices[part], row.indices)
        assert_array_equal(taken.data[part], row.data)
    assert taken.n_entries == store.csr()[wanted].nnz
    assert entries(store) == store.n_stored


def test_rows_that_were_read_become_a_matrix(tmp_path: Path) -> None:
    store, _ = stores(tmp_path)
    rows = np.array([90, 3, 70])
    read = StoreRows.open(store, in_memory=False).take(rows)
    assert_array_equal(read.csr(7).toarray(), store.csr()[rows].toarray())


@pytest.mark.parametrize("in_memory", [True, False])
def test_other_values_take_the_activations_place(tmp_path: Path, in_memory: bool) -> None:
    store, _ = stores(tmp_path)
    source = StoreRows.open(store, in_memory, lambda rows, tokens: rows._replace(data=-rows.data))
    taken = source.take(np.array([4, 5]))
    assert (taken.data[taken.start[0] : taken.stop[0]] < 0).all()


def test_far_rows_are_read_apart_and_near_ones_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_rows, "MAX_GAP", 4)
    spans = list(store_rows._spans(np.array([0, 3, 9, 10])))
    assert [(low, high) for low, high, _ in spans] == [(0, 4), (9, 11)]
    assert [rows.tolist() for _, _, rows in spans] == [[0, 3], [9, 10]]

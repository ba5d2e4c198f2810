"""Firings are read whole in any portions, and negative ones refused."""

from collections.abc import Callable

import numpy as np
import pytest

from universality.errors import UniversalityError
from universality.family import families
from universality.family.stored_firings import blocks, firings, parts, read_part
from universality.features.storage.store import FeatureStore


def test_parts_cover_all_features_within_the_budget(stores: list[FeatureStore]) -> None:
    store = stores[2]
    x = store.csr().toarray()
    for budget in (1 << 30, 10_000):
        joined = np.zeros_like(x)
        for part in (read_part(store, *features) for features in parts(store, budget)):
            start, size = part.rows.start, part.rows.stop - part.rows.start
            entry = np.arange(size.sum()) + np.repeat(start - np.cumsum(size) + size, size)
            row = np.repeat(np.arange(store.n_tokens), size)
            joined[row, part.low + part.rows.indices[entry].astype(np.int64)] = part.rows.data[entry]
        assert (joined == x).all()
    assert len(list(parts(store, 10_000))) > 1
    by_feature = np.zeros_like(x)
    for block in (firings(store, *features) for features in blocks(store, 500)):
        for i in range(block.high - block.low):
            here = slice(block.indptr[i], block.indptr[i + 1])
            by_feature[block.row[here], block.low + i] = block.value[here]
    assert (by_feature == x).all()


def test_negative_activations_are_refused(plants: tuple, write_store: Callable[..., FeatureStore]) -> None:
    a, b = write_store("a", plants[0].x, plants[0].decoder), write_store("b", -plants[1].x, plants[1].decoder)
    with pytest.raises(UniversalityError, match="families need activations that are never "):
        families([a, b])

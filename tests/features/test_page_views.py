"""Planted firings are shown where they are, in shares of the strongest, and within their block."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from universality.features import FeatureStore
from universality.features.page_views import AFTER, BEFORE, SCALE, STRONGEST, feature_views, seen_by, windows

BLOCK = 10


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Five blocks; feature 0 fires twice in block 0 and once in blocks 1 to 3, feature 1 never."""
    x = np.zeros((5 * BLOCK, 2), np.float32)
    x[[3, 4, 12, 25, 39], 0] = [4, 8, 2, 6, 1]
    place = np.arange(len(x))
    writer = FeatureStore.create(tmp_path_factory.mktemp("views") / "a.h5", 2, {})
    document, position = place // BLOCK, place % BLOCK + 1
    writer.append(sparse.csr_matrix(x), token=place, document=document, position=position, kind=["k"] * len(x))
    return writer.finish()


def test_the_strongest_of_each_block_and_quantiles(store: FeatureStore) -> None:
    views = feature_views(store)
    assert_array_equal(views.row[0, :STRONGEST], [4, 25, 12, 39])
    assert_array_equal(views.row[0, STRONGEST:], [3, -1, -1])  # the other quantiles are shown already
    assert_array_equal(views.row[1], -1)
    assert_array_equal(views.strongest, [8, 0])
    assert views.histogram[0].sum() == 5
    assert views.own[0, 0, BEFORE] == SCALE
    assert views.own[0, 0, BEFORE - 1] == SCALE // 2
    assert views.own[0, 3, BEFORE] == round(SCALE / 8)


def test_a_partner_is_seen_on_the_same_rows(store: FeatureStore) -> None:
    around = windows(store.tokens.block, np.array([[4], [12]]))
    seen = seen_by(store, np.array([1, 0]), around)
    assert not seen[0].any()
    assert_array_equal(np.flatnonzero(seen[1, 0]), [BEFORE])


def test_windows_end_with_their_block(store: FeatureStore) -> None:
    (window, none) = windows(store.tokens.block, np.array([9, -1]))
    assert_array_equal(window[BEFORE:], [9] + [-1] * AFTER)
    assert_array_equal(none, -1)

"""The strongest rows are found, with the text around them and never another block's."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from universality.features.examples import NO_TOKEN, examples
from universality.features.storage.store import FeatureStore

# Two blocks of document 0, one of document 1 (a copy of the first), one of document 2 with a hole at position
# 3.
TOKEN = [10, 11, 12, 13, 20, 21, 10, 11, 12, 13, 30, 31, 33, 34]
DOCUMENT = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
POSITION = [1, 2, 3, 4, 1, 2, 1, 2, 3, 4, 1, 2, 4, 5]
BLOCK = [0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 4, 4]
STRENGTH = {1: 5.0, 7: 5.0, 2: 4.0, 4: 3.0, 11: 2.0, 12: 1.0, 13: 1.0}


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Feature 0 as in STRENGTH, 1 dead, 2 negative everywhere, 3 on every row."""
    x = np.zeros((len(TOKEN), 4), dtype=np.float32)
    x[list(STRENGTH), 0] = list(STRENGTH.values())
    x[:, 2] = -1
    x[:, 3] = np.arange(1, len(TOKEN) + 1)
    kind = np.where(np.array(DOCUMENT) == 2, "code", "prose")
    with FeatureStore.create(tmp_path / "a.h5", 4, {}) as writer:
        writer.append(sparse.csr_matrix(x), token=TOKEN, document=DOCUMENT, position=POSITION, kind=kind)
    return FeatureStore.open(tmp_path / "a.h5")


def test_blocks_end_where_the_document_changes_or_the_position_does_not_follow(store: FeatureStore) -> None:
    assert_array_equal(store.tokens.block, BLOCK)


def test_strongest_first_with_windows_inside_the_block(store: FeatureStore) -> None:
    (found,) = examples(store, [0], k=10, before=2, after=1)
    assert_array_equal(found.row, [1, 2, 4, 11, 12, 13])
    assert_allclose(found.activation, [5, 4, 3, 2, 1, 1])
    n = NO_TOKEN
    expected = [
        [n, 10, 11, 12],
        [10, 11, 12, 13],
        [n, n, 20, 21],
        [n, 30, 31, n],
        [n, n, 33, 34],
        [n, 33, 34, n],
    ]
    assert_array_equal(found.window, expected)
    assert_array_equal(found.token, [11, 12, 20, 31, 33, 34])
    assert_array_equal(found.document, [0, 0, 0, 2, 2, 2])
    assert_array_equal(found.position, [2, 3, 1, 2, 4, 5])
    assert [store.tokens.kinds[code] for code in found.kind] == ["prose"] * 3 + ["code"] * 3


def test_activations_stand_beside_every_token_of_a_window(store: FeatureStore) -> None:
    (found,) = examples(store, [0], k=2, before=2, after=1)
    assert_allclose(found.window_activation, [[np.nan, 0, 5, 4], [0, 5, 4, 0]])


def test_the_copy_is_shown_once(store: FeatureStore) -> None:
    (found,) = examples(store, [0], k=10, before=2, after=1)
    assert 7 not in found.row
    assert found.duplicates == 1


def test_a_wider_window_still_ends_at_the_block(store: FeatureStore) -> None:
    (found,) = examples(store, [3], k=20, before=30, after=30)
    blocks = np.array(BLOCK)
    for row, window in zip(found.row, found.window, strict=True):
        inside = np.flatnonzero(blocks == blocks[row])
        assert_array_equal(window[window != NO_TOKEN], np.array(TOKEN)[inside])


def test_one_example_a_block(store: FeatureStore) -> None:
    (found,) = examples(store, [0], k=10, before=0, after=0, per_block=1)
    assert_array_equal(found.row, [1, 4, 11, 12])


def test_k_limits_and_order_of_features_is_kept(store: FeatureStore) -> None:
    found = examples(store, [3, 0], k=2)
    assert [one.feature for one in found] == [3, 0]
    assert [len(one) for one in found] == [2, 2]
    assert_array_equal(found[0].row, [13, 12])


def test_dead_and_negative_features_have_no_examples(store: FeatureStore) -> None:
    for found in examples(store, [1, 2], k=3, before=2, after=2):
        assert len(found) == 0
        assert found.window.shape == found.window_activation.shape == (0, 5)
        assert found.strings(lambda ids: [str(i) for i in ids]) == []


def test_strings_leave_out_what_is_beyond_the_block(store: FeatureStore) -> None:
    (found,) = examples(store, [0], k=3, before=2, after=1)
    shown = found.strings(lambda ids: [f"t{i}" for i in ids])
    assert shown == [(["t10"], "t11", ["t12"]), (["t10", "t11"], "t12", ["t13"]), ([], "t20", ["t21"])]


def test_a_decoder_that_joins_tokens_is_refused(store: FeatureStore) -> None:
    (found,) = examples(store, [0], k=3, before=2, after=1)
    with pytest.raises(ValueError, match="decode returned 1 strings for 2 token ids"):
        found.strings(lambda ids: ["".join(map(str, ids))])


def test_equals_a_sort_of_all_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    n = 4000
    x = np.where(rng.random((n, 1)) < 0.5, np.round(rng.random((n, 1)), 2), 0).astype(np.float32)
    token = rng.integers(0, 3, n)
    with FeatureStore.create(tmp_path / "b.h5", 1, {}) as writer:
        writer.append(sparse.csr_matrix(x), token=token, document=np.arange(n) // 8, position=np.arange(n) % 8
        + 1,
                      kind=np.full(n, "a"))  # fmt: skip
    (found,) = examples(FeatureStore.open(tmp_path / "b.h5"), [0], k=15, before=1, after=1)
    windows: dict[tuple[int, ...], int] = {}
    for row in sorted(range(n), key=lambda r: (-x[r, 0], r)):
        block = row // 8
        around = tuple(token[r] if 0 <= r < n and r // 8 == block else NO_TOKEN for r in (row - 1, row, row + 1))
        if x[row, 0] > 0:
            windows.setdefault(around, row)
    assert_array_equal(found.row, list(windows.values())[:15])


@pytest.mark.parametrize("wrong", [{"k": 0}, {"before": -1}, {"after": -1}, {"per_block": 0}])
def test_senseless_sizes_are_refused(store: FeatureStore, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected k >= 1, before >= 0, after >= 0 and per_block >= 1 or None"):
        examples(store, [0], **wrong)

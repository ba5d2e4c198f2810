"""Re-pairings keep blocks, positions and kinds, and never let a group meet itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import BLOCK, Text, text, write_store

from universality.corpus.documents import DocumentTable
from universality.errors import UniversalityError
from universality.features import FeatureStore
from universality.statistics import plan_repairing, repaired_rows

SEEN = text(30, blocks=3, kinds=("prose", "code", "dna"), group_size=3)


def store_of(folder: Path, seen: Text) -> FeatureStore:
    return write_store(folder / "a.h5", np.ones((seen.n_tokens, 1)), seen)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return store_of(tmp_path_factory.mktemp("null"), SEEN)


def column(seen: Text, name: str, rows: np.ndarray) -> np.ndarray:
    return np.asarray(getattr(seen.documents, name))[seen.document[rows]]


@pytest.mark.parametrize("null", ["global", "kind"])
def test_full_blocks_meet_blocks_of_other_groups(store: FeatureStore, null: str) -> None:
    rows_a, rows_b = repaired_rows(store, null, seed=1)  # type: ignore[arg-type]
    assert_array_equal(SEEN.position[rows_a], SEEN.position[rows_b])
    assert_array_equal(SEEN.position[rows_a], np.tile(np.arange(1, BLOCK + 1), rows_a.size // BLOCK))
    assert not (column(SEEN, "group", rows_a) == column(SEEN, "group", rows_b)).any()
    assert_array_equal(np.sort(rows_a), np.sort(rows_b))
    assert np.unique(rows_a).size == rows_a.size == 30 * 3 * BLOCK  # the half blocks stay out
    for rows in (rows_a, rows_b):
        steps = np.diff(rows.reshape(-1, BLOCK))
        assert_array_equal(steps, 1)
    same_kind = column(SEEN, "kind", rows_a) == column(SEEN, "kind", rows_b)
    assert same_kind.all() if null == "kind" else not same_kind.all()


def test_seeds_differ_and_repeat(store: FeatureStore) -> None:
    plan = plan_repairing(store)
    assert_array_equal(plan.draw(0, 1)[1], plan.draw(0, 1)[1])
    assert (plan.draw(0, 1)[1] != plan.draw(0, 2)[1]).any()
    assert_array_equal(plan.draw(0, 1)[0], plan.draw(0, 2)[0])
    assert_allclose(plan.share, 3 / 3.5)
    assert plan.notes == ()


def test_every_run_of_another_group_is_a_possible_partner(store: FeatureStore) -> None:
    plan = plan_repairing(store)
    met = np.array([plan.draw(0, r)[1][0] // BLOCK for r in range(400)])
    counts = np.unique(met, return_counts=True)[1]
    assert counts.size == 27  # 30 runs of two blocks less the 3 of its own group
    assert counts.max() < 40


def test_blocks_of_a_document_stay_together_where_that_leaves_enough_to_pair(tmp_path: Path) -> None:
    """Documents of 1 to 7 blocks: runs of four, two and one; two longer documents are cut into halves."""
    n_blocks = np.concatenate([np.tile(np.arange(1, 8), 6), [16, 17]])
    n = n_blocks.size
    names = tuple(map(str, range(n)))
    table = DocumentTable(id=names, kind=("x",) * n, group=names, split=("report",) * n)
    document = np.repeat(np.arange(n), n_blocks * BLOCK)
    seen = Text(table, document, np.tile(np.arange(1, BLOCK + 1), n_blocks.sum()))
    plan = plan_repairing(store_of(tmp_path, seen))
    assert_array_equal(np.unique(plan.size, return_counts=True), [[1, 2, 4, 8], [4 * 6 + 1, 4 * 6, 4 * 6, 2 + 2]])
    assert plan.share == 1
    for rows in plan.draw(0):
        assert_array_equal(np.sort(rows), np.arange(seen.n_tokens))
    rows_a, rows_b = (rows.reshape(-1, BLOCK)[:, 0] // BLOCK for rows in plan.draw(0))
    begins = np.repeat(np.cumsum(plan.size) - plan.size, plan.size)
    for blocks in (rows_a, rows_b):  # blocks of a run follow each other in one document
        assert_array_equal(blocks - blocks[begins], np.arange(blocks.size) - begins)
        owner = seen.document[blocks * BLOCK]
        assert_array_equal(owner, owner[begins])
    assert not (seen.document[rows_a * BLOCK] == seen.document[rows_b * BLOCK]).any()


def test_only_blocks_of_the_documents_asked_for(store: FeatureStore) -> None:
    rows_a, rows_b = repaired_rows(store, documents=[0, 4, 9])
    for rows in (rows_a, rows_b):
        assert set(SEEN.document[rows]) == {0, 4, 9}


def test_a_shorter_block_length_takes_half_blocks_in(store: FeatureStore) -> None:
    plan = plan_repairing(store, block_length=BLOCK // 2)
    assert plan.size.sum() == 30 * 4
    assert_array_equal(SEEN.position[plan.draw(0)[1]], np.tile(np.arange(1, BLOCK // 2 + 1), 120))


def test_a_group_that_holds_too_much_gives_blocks_up_and_says_so(tmp_path: Path) -> None:
    group = tuple("abcdefgh") + ("big",) * 12
    table = DocumentTable(id=tuple(str(d) for d in range(20)), kind=("x",) * 20, group=group, split=("report",) * 20)
    seen = Text(table, np.repeat(np.arange(20), BLOCK), np.tile(np.arange(1, BLOCK + 1), 20))
    plan = plan_repairing(store_of(tmp_path, seen))
    rows_a, rows_b = plan.draw(3)
    assert rows_a.size == 16 * BLOCK
    assert not (column(seen, "group", rows_a) == column(seen, "group", rows_b)).any()
    assert plan.notes == ("the corpus: one group holds 12 of 20 single blocks; 4 of them take no part in the null",)


def test_in_kinds_of_few_groups_documents_are_the_unit_and_the_kinds_are_named(tmp_path: Path) -> None:
    seen = text(12, kinds=("rare", "rarer"), group_size=6)
    plan = plan_repairing(store_of(tmp_path, seen), "kind")
    rows_a, rows_b = plan.draw(0)
    assert not (column(seen, "id", rows_a) == column(seen, "id", rows_b)).any()
    assert (column(seen, "group", rows_a) == column(seen, "group", rows_b)).any()
    assert plan.notes == ("kinds of few groups, whose documents count as unrelated: rare, rarer",)


def test_a_kind_of_one_document_stays_out_of_the_null_within_kinds_and_is_named(tmp_path: Path) -> None:
    table = DocumentTable(id=tuple("abc"), kind=("x", "x", "dna"), group=tuple("abc"), split=("report",) * 3)
    seen = Text(table, np.repeat(np.arange(3), BLOCK), np.tile(np.arange(1, BLOCK + 1), 3))
    plan = plan_repairing(store_of(tmp_path, seen), "kind")
    assert set(seen.document[plan.draw(0)[0]]) == {0, 1}
    assert plan.notes[0] == "kind dna: one group holds 1 of 1 single blocks; none can meet another group"


def test_one_document_has_no_null(tmp_path: Path) -> None:
    seen = text(1, kinds=("x",))
    message = r"global null needs full blocks of 32 tokens.*; found 1 groups, 2 blocks"
    with pytest.raises(UniversalityError, match=message):
        plan_repairing(store_of(tmp_path, seen))


def test_wrong_calls_are_refused(store: FeatureStore) -> None:
    with pytest.raises(UniversalityError, match="unknown null 'token'; choose one of global, kind"):
        plan_repairing(store, "token")  # type: ignore[arg-type]
    with pytest.raises(UniversalityError, match="block_length: expected at least 1, found 0"):
        plan_repairing(store, block_length=0)
    with pytest.raises(UniversalityError, match="no token to re-pair"):
        plan_repairing(store, documents=np.zeros(0, int))
    with pytest.raises(UniversalityError, match="full blocks of 500 tokens"):
        plan_repairing(store, block_length=500)

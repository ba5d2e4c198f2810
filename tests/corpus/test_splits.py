import hashlib
import random
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from universality.corpus import DocumentTable, read_passages, split_documents
from universality.corpus.units import independent_units
from universality.errors import CorpusError


def columns(spec: dict[str, tuple[int, int]]) -> tuple[list[str], list[str], list[str]]:
    """kind → (groups, documents a group)."""
    rows = [
        (kind, f"{kind}/{g}", f"{kind}/{g}/{d}")
        for kind, (groups, docs) in spec.items()
        for g in range(groups)
        for d in range(docs)
    ]
    kinds, groups, ids = zip(*rows, strict=True)
    return list(kinds), list(groups), list(ids)


def test_groups_stay_whole_and_kinds_keep_their_share() -> None:
    kinds, groups, ids = columns({"many": (50, 4), "few": (2, 50)})
    splits = split_documents(kinds, groups, ids, held_out=0.2, seed=3)
    of_group = defaultdict(set)
    for group, split in zip(groups, splits.split, strict=True):
        of_group[group].add(split)
    assert all(len(of_group[f"many/{g}"]) == 1 for g in range(50))
    for kind, n in (("many", 200), ("few", 100)):
        counted = [s for k, s in zip(kinds, splits.split, strict=True) if k == kind]
        assert counted.count("choose") == counted.count("report") == n // 10
    assert splits.flagged_kinds == ("few",)


def test_kinds_too_small_train_only() -> None:
    splits = split_documents(*columns({"tiny": (1, 2), "three": (3, 1)}), held_out=0.2)
    assert splits.split[:2] == ("train", "train")
    assert sorted(splits.split[2:]) == ["choose", "report", "train"]
    assert splits.train_only_kinds == ("tiny",)


def test_split_does_not_depend_on_the_order_of_documents() -> None:
    rows = list(zip(*columns({"a": (20, 3), "b": (2, 9)}), strict=True))
    shuffled = random.Random(0).sample(rows, len(rows))
    one = dict(zip((r[2] for r in rows), split_documents(*zip(*rows, strict=True)).split, strict=True))
    two = dict(zip((r[2] for r in shuffled), split_documents(*zip(*shuffled, strict=True)).split, strict=True))
    assert one == two
    other = split_documents(*zip(*rows, strict=True), seed=1).split
    assert tuple(one.values()) != other


def test_nothing_held_out_and_out_of_range() -> None:
    assert set(split_documents(*columns({"a": (9, 1)}), held_out=0).split) == {"train"}
    with pytest.raises(CorpusError, match="expected a share of documents"):
        split_documents(["a"], ["a"], ["a"], held_out=1)


def splits_of(rows: list[tuple[str, str]], held_out: float = 0.4, seed: int = 0) -> DocumentTable:
    """Documents of these kinds and works, named by number."""
    kinds, groups = [row[0] for row in rows], [row[1] for row in rows]
    ids = [f"d{i}" for i in range(len(rows))]
    return DocumentTable(ids, kinds, groups, split_documents(kinds, groups, ids, held_out, seed).split)  # type: ignore[arg-type]


def straddling(table: DocumentTable) -> set[str]:
    """Works that stand in two splits."""
    splits = defaultdict(set)
    for group, split in zip(table.group, table.split, strict=True):
        splits[group].add(split)
    return {group for group, found in splits.items() if len(found) > 1}


def test_a_work_with_passages_of_two_kinds_stands_in_one_split() -> None:
    rows = [(kind, f"w{w}") for w in range(40) for kind in ("prose", "verse")]
    assert not straddling(splits_of(rows))
    apart = splits_of([(kind, f"{kind}{work}") for kind, work in rows])  # control: a work of its own for each kind
    assert sum(one != two for one, two in zip(apart.split[::2], apart.split[1::2], strict=True)) > 5
    table = splits_of(rows)
    for kind in ("prose", "verse"):
        found = [split for k, split in zip(table.kind, table.split, strict=True) if k == kind]
        assert found.count("choose") == found.count("report") == 8


def test_passages_in_a_flagged_kind_follow_a_work_of_an_unflagged_one() -> None:
    rows = [("prose", f"w{w}") for w in range(20)] + [("rare", f"w{w % 2}") for w in range(12)]
    rows += [("rare", "only here")] * 12
    for seed in range(5):
        assert straddling(splits_of(rows, seed=seed)) <= {"only here"}
    kinds, groups = [r[0] for r in rows], [r[1] for r in rows]
    assert split_documents(kinds, groups, [str(i) for i in range(len(rows))]).flagged_kinds == ("rare",)
    n = len(rows) - 12
    assert split_documents(kinds[:n], groups[:n], [str(i) for i in range(n)]).flagged_kinds == ()


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 14).map(str)), min_size=1, max_size=80),
    st.sampled_from([0.1, 0.2, 0.4, 0.7]),
)
def test_no_unit_of_evidence_straddles_splits_and_only_flagged_works_do(
    rows: list[tuple[str, str]], held_out: float
) -> None:
    table = splits_of(rows, held_out)
    flagged = split_documents(table.kind, table.group, table.id, held_out).flagged_kinds
    units = independent_units(table)
    split_of_unit: dict[int, str] = {}
    for code, split in zip(units.code.tolist(), table.split, strict=True):
        assert split_of_unit.setdefault(code, split) == split
    assert set(units.flagged_kinds) <= set(flagged)
    torn = straddling(table)
    assert torn <= {group for kind, group in rows if kind in units.flagged_kinds}
    assert not torn & {group for kind, group in rows if kind not in flagged}
    wider = splits_of(rows, min(0.9, held_out + 0.2))
    assert all(w != "train" for s, w in zip(table.split, wider.split, strict=True) if s != "train")


def test_the_splits_of_the_starter_corpus_are_those_that_shipped_models_were_trained_on() -> None:
    passages = read_passages("starter")
    columns = [[getattr(p, name) for p in passages] for name in ("kind", "group", "id")]
    digest = hashlib.sha256()
    for held_out in (0.0, 0.05, 0.1, 0.2, 0.4, 0.9):
        for seed in (0, 1):
            digest.update(repr(split_documents(*columns, held_out, seed)).encode())
    assert digest.hexdigest() == "3592239681349b24269f09405ce6eb0b31056b9d4a404e57f4466fa44f17a62e"

import random
from collections import defaultdict

import pytest

from universality.corpus import split_documents
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

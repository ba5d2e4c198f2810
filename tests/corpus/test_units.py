"""Groups are the unit, except in kinds that have too few of them."""

from __future__ import annotations

from numpy.testing import assert_array_equal

from universality.corpus.documents import DocumentTable
from universality.corpus.units import independent_units


def table(kinds: list[str], groups: list[str]) -> DocumentTable:
    n = len(kinds)
    names = tuple(f"d{k:02}" for k in range(n))
    return DocumentTable(id=names, kind=tuple(kinds), group=tuple(groups), split=("report",) * n)


def test_documents_of_a_group_are_one_unit_where_the_kind_has_eight() -> None:
    units = independent_units(table(["en"] * 16, [f"g{k // 2}" for k in range(16)]))
    assert_array_equal(units.code, [k // 2 for k in range(16)])
    assert units.names == tuple(f"g{k}" for k in range(8))
    assert units.flagged_kinds == ()


def test_with_seven_groups_documents_are_the_unit_and_the_kind_is_flagged() -> None:
    units = independent_units(table(["en"] * 14 + ["dna"] * 2, [f"g{k // 2}" for k in range(14)] + ["x", "x"]))
    assert_array_equal(units.code, range(16))
    assert units.flagged_kinds == ("dna", "en")


def test_few_documents_that_share_nothing_are_not_flagged() -> None:
    units = independent_units(table(["en", "en", "dna"], ["a", "b", "c"]))
    assert units.flagged_kinds == ()
    assert len(units.names) == 3


def test_a_group_named_like_a_document_of_another_kind_stays_apart() -> None:
    units = independent_units(table(["dna"] * 2 + ["en"] * 8, ["x", "x"] + ["d00"] + [f"g{k}" for k in range(7)]))
    assert units.names.count("d00") == 2
    assert len(set(units.code)) == 10

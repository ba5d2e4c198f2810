"""The summary counts the plant."""

from numpy.testing import assert_allclose

from universality.family import Families


def test_summary_counts_the_plant(planted: Families) -> None:
    summary = planted.summary()
    narrow, middle, wide = summary["levels"]
    # 4+2 children of [0..3], [4,5]; [6], [7] merge into [6,7]; [8..11] has two.
    assert (narrow["split"], narrow["childless"], narrow["edges_out"]) == (3, 0, 8)
    assert_allclose(narrow["children_per_parent"], 8 / 5)
    assert_allclose(narrow["tree_children_per_parent"], 7 / 4)
    assert (middle["novel"], middle["merged"], middle["novel_share"]) == (3, 1, 0.3)
    assert_allclose(middle["parents_per_child"], 8 / 7)
    assert (wide["novel"], wide["merged"]) == (3, 0)
    assert wide["edges_out"] is None
    assert narrow["edges_in"] is None
    assert narrow["novel"] is None
    assert (summary["edges"], summary["tree_edges"], summary["dropped_edges"]) == (26, 25, 1)

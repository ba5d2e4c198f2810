"""Three models in one graph: who agrees with whom, and what is refused."""

import numpy as np
import pytest

from universality import Similarity, match
from universality.errors import MismatchError
from universality.export import partite_graph
from universality.matching import Match


def matched(order: list[int]) -> Match:
    """Row i's partner is column order[i]."""
    return match(Similarity.from_dense(np.eye(len(order))[:, np.argsort(order)] * 0.9 + 0.01))


def test_features_whose_partners_agree_are_told_from_those_whose_do_not() -> None:
    graph = partite_graph({
        ("A", "B"): matched([0, 1, 2]), ("A", "C"): matched([0, 1, 2]), ("B", "C"): matched([0, 2, 1]),
    })  # fmt: skip
    assert graph.number_of_nodes() == 9
    assert graph.number_of_edges() == 9
    agree = {node for node, good in graph.nodes(data="agrees") if good}
    assert agree == {("A", 0), ("B", 0), ("C", 0)}
    assert set(dict(graph.degree()).values()) == {2}
    assert graph.nodes["C", 1]["level"] == 2
    assert graph.edges[("A", 1), ("B", 1)] == {"chosen": pytest.approx(0.91)}


def test_every_pair_of_models_is_wanted_once() -> None:
    with pytest.raises(MismatchError, match="expected one match for every pair of A, B, C, found A-B, B-C"):
        partite_graph({("A", "B"): matched([0, 1]), ("B", "C"): matched([0, 1])})
    with pytest.raises(MismatchError, match="B: 2 features in one match, 3 in another"):
        partite_graph({("A", "B"): matched([0, 1]), ("B", "C"): matched([0, 1, 2]), ("A", "C"): matched([0, 1])})

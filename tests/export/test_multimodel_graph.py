"""Three models in one graph: who agrees with whom, and what is refused."""

import numpy as np
import pandas as pd
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


def test_edges_carry_the_effects_of_their_pair_where_they_are_known() -> None:
    names = [("A", "B"), ("A", "C"), ("B", "C")]
    table = pd.DataFrame({"row": [0, 1, 2], "col": [0, 1, 2], "held_out": 0.5, "effect_r": [0.4, np.nan, 0.1]})
    graph = partite_graph(dict.fromkeys(names, matched([0, 1, 2])), dict.fromkeys(names, table))
    for a, b in names:
        assert [graph.edges[(a, i), (b, i)].get("effect_r") for i in range(3)] == [0.4, None, 0.1]
        assert graph.edges[(a, 1), (b, 1)]["weight"] == 0.5


def test_every_pair_of_models_is_wanted_once() -> None:
    with pytest.raises(MismatchError, match="expected one match for every pair of A, B, C, found A-B, B-C"):
        partite_graph({("A", "B"): matched([0, 1]), ("B", "C"): matched([0, 1])})
    with pytest.raises(MismatchError, match="B: 2 features in one match, 3 in another"):
        partite_graph({("A", "B"): matched([0, 1]), ("B", "C"): matched([0, 1, 2]), ("A", "C"): matched([0, 1])})

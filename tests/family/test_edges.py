"""The rule's limits, and which parent a child keeps."""

import networkx as nx
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from universality.family.edge_rule import EdgeRule, edge_weight
from universality.family.edges import Edges, best_parents


def edges_of(level: list[int], parent: list[int], child: list[int], weight: list[float]) -> Edges:
    blank = np.zeros(len(level))
    return Edges(np.array(level), np.array(parent), np.array(child), *[blank] * 6, weight=np.array(weight))


def test_each_child_keeps_its_heaviest_edge_and_ties_go_to_the_lower_parent() -> None:
    edges = edges_of([0, 0, 0, 0, 1, 1], [0, 1, 3, 2, 0, 5], [7, 7, 8, 8, 7, 7], [0.5, 0.6, 0.9, 0.9, 0.1, 0.2])
    kept = edges.take(best_parents(edges))
    found = set(zip(kept.level, kept.parent, kept.child, strict=True))
    assert found == {(0, 1, 7), (0, 2, 8), (1, 5, 7)}


def test_no_edges_keep_none() -> None:
    assert_array_equal(best_parents(edges_of([], [], [], [])), [])


def test_equals_the_general_algorithm_on_random_graphs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        n = 60
        ends = np.unique(np.stack([rng.integers(0, 2, n), rng.integers(0, 6, n), rng.integers(0, 9, n)]), axis=1)
        edges = edges_of(*ends.tolist(), weight=rng.random(ends.shape[1]).tolist())
        graph = nx.DiGraph()
        for level, parent, child, weight in zip(*ends.tolist(), edges.weight, strict=True):
            graph.add_edge((level, parent), (level + 1, child), weight=weight)
        kept = edges.take(best_parents(edges))
        found = {((lv, p), (lv + 1, c)) for lv, p, c in zip(kept.level, kept.parent, kept.child, strict=True)}
        assert found == set(nx.maximum_branching(graph, attr="weight").edges)


def test_weight_needs_both_cosines() -> None:
    assert_allclose(edge_weight(np.array([0.25, 1, -0.5, 0]), np.array([1, 0.49, 1, 1])), [0.5, 0.7, 0, 0])


@pytest.mark.parametrize("name", ["min_decoder_cosine", "min_masked_cosine"])
@pytest.mark.parametrize("value", [1.5, -1.01, float("nan")])
def test_thresholds_are_cosines(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be (finite|at least -1 and at most 1), found"):
        EdgeRule(**{name: value})


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan")])
def test_coverage_is_a_share(value: float) -> None:
    with pytest.raises(ValueError, match=r"min_coverage must be (finite|at least 0 and at most 1), found"):
        EdgeRule(min_coverage=value)


@pytest.mark.parametrize("value", [1.5, float("-inf"), float("nan")])
def test_what_a_child_makes_up_for_is_a_share(value: float) -> None:
    with pytest.raises(ValueError, match=r"min_recovered must be (finite|at most 1), found"):
        EdgeRule(min_recovered=value)


def test_a_feature_that_never_fires_has_no_edges() -> None:
    with pytest.raises(ValueError, match="min_firings must be at least 1, found 0"):
        EdgeRule(min_firings=0)

"""Layout of a family."""

from itertools import pairwise

import networkx as nx
import pytest

from universality.errors import UniversalityError
from universality.plot.tree_layout import lay_out
from universality.report.figures import choose_family, describe_family, family_tree


def test_layout_puts_parents_amid_their_children_and_everyone_once(family_graph: nx.DiGraph) -> None:
    found = lay_out(family_graph, (0, 0))
    assert set(found.row) == {(0, 0), *((1, i) for i in range(3)), *((2, i) for i in range(4))}
    assert [found.row[2, i] for i in range(4)] == [0, 1, 2, 3]
    assert (found.row[1, 0], found.row[1, 1], found.row[1, 2]) == (0.5, 2, 3)
    assert found.row[0, 0] == (0.5 + 3) / 2
    assert found.n_rows == 4
    assert ((1, 0), (2, 1)) in found.tree
    assert found.others == (((1, 1), (2, 1)),)
    assert found.hidden == {}


def test_no_two_boxes_of_a_level_overlap(family_graph: nx.DiGraph) -> None:
    for most in (1, 2, 3, 12):
        row = lay_out(family_graph, (0, 0), most).row
        for level in range(3):
            places = sorted(row[node] for node in row if node[0] == level)
            assert all(b - a >= 1 for a, b in pairwise(places))


def test_the_lightest_are_left_out_and_counted(family_graph: nx.DiGraph) -> None:
    found = lay_out(family_graph, (0, 0), 2)
    assert set(found.row) == {(0, 0), (1, 0), (1, 1), (2, 0), (2, 2)}
    assert found.hidden == {(0, 0): 1, (1, 0): 1}
    said = describe_family(family_graph, (0, 0), most=2)
    assert "2 further children are not drawn" in said.text


def test_edges_without_weight_count_alike() -> None:
    graph = nx.DiGraph([((0, 0), (1, 3)), ((0, 0), (1, 1))])
    assert lay_out(graph, (0, 0)).row[1, 1] == 0
    family_tree(graph, (0, 0)).draw_without_rendering()


def test_a_family_that_fits_is_preferred_then_one_of_enough_members(family_graph: nx.DiGraph) -> None:
    family_graph.add_edge((0, 1), (1, 9), weight=0.5)
    assert choose_family(family_graph, 12) == (0, 0)
    assert choose_family(family_graph, 2) == (0, 1)
    assert choose_family(family_graph.subgraph([(0, 0), (1, 0), (1, 1)]), 1) == (0, 0)


def test_of_families_that_fit_the_one_that_agrees_on_a_kind_is_chosen(family_graph: nx.DiGraph) -> None:
    for i in range(8):
        family_graph.add_edge((0, 1), (1, 10 + i), weight=0.5)
    assert choose_family(family_graph) == (0, 1)  # larger
    for node in family_graph:
        if node != (0, 1) and node[1] < 10:
            family_graph.nodes[node]["purity"] = 0.9
    assert choose_family(family_graph) == (0, 0)  # purer
    for node in family_graph:
        family_graph.nodes[node]["purity"] = 0.9
    family_graph.nodes[0, 0]["kind"] = "dna"
    for i in range(8):
        family_graph.nodes[1, 10 + i]["kind"] = "hebrew"
    assert choose_family(family_graph) == (0, 1)  # of one kind


def test_without_edges_there_is_no_family(family_graph: nx.DiGraph) -> None:
    assert choose_family(nx.DiGraph()) is None
    assert choose_family(family_graph.subgraph([(0, 0), (0, 1)])) is None


def test_an_unknown_root_is_refused(family_graph: nx.DiGraph) -> None:
    with pytest.raises(UniversalityError, match=r"root: expected a node .* of the graph, found \(0, 99\)"):
        family_tree(family_graph, (0, 99))

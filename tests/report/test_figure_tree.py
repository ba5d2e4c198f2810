"""Family trees: everyone in their place, tokens of any script."""

from itertools import pairwise

import networkx as nx
import pytest

from universality.errors import UniversalityError
from universality.report.figures import choose_family, describe_family, family_tree
from universality.report.figures.saving import figure_bytes
from universality.report.figures.style import drawable
from universality.report.figures.tree_layout import lay_out


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


def written(figure) -> list[str]:  # type: ignore[no-untyped-def]
    strip = {ord(c): None for c in "\u200e\u2068\u2069"}
    return [text.get_text().translate(strip) for text in figure.axes[0].texts]


def test_the_drawing_names_widths_features_rates_and_tokens(family_graph: nx.DiGraph) -> None:
    tokens = {(0, 0): ["ה", " את"], (1, 0): ["العربية"], (2, 0): [" the", "\n"]}
    figure = family_tree(family_graph, (0, 0), tokens)
    found = written(figure)
    for text in ("512 features", "1,024 features", "2,048 features", "#0 · hebrew · 10.0%", "ה  ␣את", "العربية",
                 "␣the  ⏎", "0.90", "0.45"):  # fmt: skip
        assert text in found, text
    assert len(figure.axes[0].patches) == 8 + 8  # boxes and edges
    png, svg = figure_bytes(figure)
    assert png.startswith(b"\x89PNG")
    assert b"<svg" in svg
    said = describe_family(family_graph, (0, 0), tokens)
    assert "1 feature of 512, then 3 features of 1,024, then 4 features of 2,048; 1 further parent" in said.alt
    assert "ה ␣את" in said.alt


def test_tokens_of_every_kind_are_drawn_without_a_missing_glyph(family_graph: nx.DiGraph, nasty) -> None:  # type: ignore[no-untyped-def]
    """Matplotlib warns of a missing glyph, and warnings are errors."""
    nodes = sorted(family_graph)
    tokens = {node: nasty[i % len(nasty) :] + nasty[: i % len(nasty)] for i, node in enumerate(nodes * 2)}
    figure_bytes(family_tree(family_graph, (0, 0), tokens))
    for token in nasty:
        assert "\x00" not in drawable(token)
    assert drawable("中") == "U+4E2D"
    assert drawable("\u0928") == "U+0928"
    assert drawable("אبД") == "אبД"
    assert drawable("$a$") == "$a$"


def test_text_stays_inside_its_box(family_graph: nx.DiGraph) -> None:
    tokens = {key: ["W" * 200, "next"] for key in family_graph}
    figure = family_tree(family_graph, (0, 0), tokens)
    figure.draw_without_rendering()
    boxes = [patch.get_window_extent() for patch in figure.axes[0].patches if patch.get_zorder() == 2]
    inside = [text for text in figure.axes[0].texts if text.get_zorder() == 4]
    assert len(inside) == 16
    for text in inside:
        extent = text.get_window_extent()
        assert any(box.x0 <= extent.x0 and extent.x1 <= box.x1 for box in boxes), text.get_text()
    assert any(text.get_text().rstrip("\u2069").endswith("…") for text in inside)


def test_a_lone_root(family_graph: nx.DiGraph) -> None:
    figure = family_tree(family_graph, (0, 1))
    assert "512 features" in written(figure)
    figure.draw_without_rendering()
    assert "1 feature of 512." in describe_family(family_graph, (0, 1)).alt


def test_a_root_of_a_wider_level(family_graph: nx.DiGraph) -> None:
    assert "1,024 features" in written(family_tree(family_graph, (1, 0)))

"""Drawing of a family."""

import networkx as nx

from universality.plot.style import drawable
from universality.report.figures import describe_family, family_tree
from universality.report.figures.saving import figure_bytes


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

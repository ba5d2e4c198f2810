"""All families of a model as an icicle plot."""

import numpy as np
import pandas as pd
import pytest

from universality.plot.icicle_rows import columns_of
from universality.report.figures import describe_icicle, family_icicle
from universality.report.figures.saving import figure_bytes


@pytest.fixture
def nodes() -> pd.DataFrame:
    """Two features, then three, then five; the last of the second and third rows are without a parent, one is dead."""
    widths, statuses = (2, 3, 5), (["root"] * 2, ["child", "child", "novel"], ["child"] * 3 + ["absorbed", "dead"])
    rows = [
        {
            "level": level,
            "width": width,
            "feature": i,
            "kind": "dna" if i % 2 else "hebrew",
            "status": statuses[level][i],
        }
        for level, width in enumerate(widths)
        for i in range(width)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def edges() -> pd.DataFrame:
    ends = [(2, 0, 3, 0), (2, 0, 3, 1), (3, 0, 5, 0), (3, 0, 5, 1), (3, 2, 5, 2), (2, 1, 3, 1)]
    frame = pd.DataFrame(ends, columns=["parent_width", "parent", "child_width", "child"])
    return frame.assign(in_tree=[True] * 5 + [False])


def test_every_end_of_a_family_has_a_column_with_its_ancestors(nodes: pd.DataFrame, edges: pd.DataFrame) -> None:
    columns = columns_of(nodes, edges)
    label = [None if i < 0 else (nodes["width"][i], nodes["feature"][i]) for i in columns.ravel()]
    paths = {tuple(label[i :: columns.shape[1]]) for i in range(columns.shape[1])}
    assert paths == {
        ((2, 0), (3, 0), (5, 0)),
        ((2, 0), (3, 0), (5, 1)),
        ((2, 0), (3, 1), None),
        ((2, 1), None, None),
        (None, (3, 2), (5, 2)),
        (None, None, (5, 3)),
    }
    assert columns.shape == (3, len(paths))


def test_the_icicle_draws_kinds_and_leaves_gaps_white(nodes: pd.DataFrame, edges: pd.DataFrame) -> None:
    figure = family_icicle(nodes, edges)
    image = np.asarray(figure.axes[0].images[0].get_array())
    assert image.shape == (3, 6, 3)
    assert ((image == 1).all(axis=2) == (columns_of(nodes, edges) < 0)).all()
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["2 features", "3 features", "5 features"]
    png, svg = figure_bytes(figure)
    assert png.startswith(b"\x89PNG")
    assert b"<svg" in svg
    assert "over 3 widths; filled: 67%, then 67%, then 67%" in describe_icicle(nodes, edges).alt


def test_an_icicle_of_nothing_says_so(nodes: pd.DataFrame, edges: pd.DataFrame) -> None:
    figure = family_icicle(nodes.assign(status="dead"), edges.iloc[:0])
    assert [text.get_text() for text in figure.axes[0].texts] == ["no features"]

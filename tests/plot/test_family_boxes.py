"""One family as a picture: the descendants of a feature, and no others."""

import time
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from matplotlib import pyplot
from scipy import sparse

from universality import plot
from universality.errors import UniversalityError
from universality.family import Families, families
from universality.features import Dictionary, FeatureStore
from universality.plot.family_boxes import descendants


@pytest.fixture(scope="session")
def widths(tmp_path_factory: pytest.TempPathFactory) -> list[FeatureStore]:
    """Stores of two features of one dictionary, of which the first fires for either of two concepts, and of three."""
    folder = tmp_path_factory.mktemp("widths")
    rng = np.random.default_rng(0)
    concepts = np.float32((rng.random((600, 3)) < 0.1) * rng.gamma(4, 0.25, (600, 3)))
    token, text = np.arange(600), np.full(600, "text")

    def write(path: Path, sees: np.ndarray) -> FeatureStore:
        writer = FeatureStore.create(path, len(sees), {"model": {"name": "m", "hash": "m"}, "site": "resid"})
        codes = sparse.csr_matrix(concepts @ sees.T)
        writer.append(codes, token=token, document=token // 50, position=token % 50 + 1, kind=text)
        return writer.finish(dictionary=Dictionary(decoder=sees))

    both = np.array([[1, 1, 0], [0, 0, 1]], np.float32), np.eye(3, dtype=np.float32)
    return [write(folder / f"{len(sees)}.h5", sees) for sees in both]


@pytest.fixture(scope="session")
def grown(widths: list[FeatureStore]) -> Families:
    return families(widths)


def texts(axes: pyplot.Axes) -> list[str]:
    strip = {ord(c): None for c in "\u200e\u2068\u2069"}
    return [text.get_text().translate(strip) for text in axes.texts]


def test_the_descendants_are_those_of_the_whole_graph(grown: Families) -> None:
    for root in grown.graph:
        part = descendants(grown, root)
        whole = grown.graph.subgraph({root} | nx.descendants(grown.graph, root))
        assert set(part) == set(whole)
        assert {(a, b): w for a, b, w in part.edges(data="weight")} == {
            (a, b): w for a, b, w in whole.edges(data="weight")
        }
        assert all(part.nodes[node].items() <= whole.nodes[node].items() for node in part)


def test_a_feature_that_splits_is_drawn_with_its_children_and_their_tokens(
    grown: Families, widths: list[FeatureStore]
) -> None:
    _, (left, right) = pyplot.subplots(1, 2, figsize=(9, 2))
    assert plot.family(grown, stores=widths, decode=lambda ids: [f"w{i}" for i in ids], ax=left) is left
    found = texts(left)
    assert {"2 features", "3 features"} <= set(found)
    assert sum(text.startswith("#") for text in found) == 3  # one parent, two children
    heaviest = widths[0].tokens.token[widths[0].feature(0)[0][widths[0].feature(0)[1].argmax()]]
    assert any(f"w{heaviest}" in text for text in found)
    plot.family(grown, (0, 1), ax=right)
    assert sum(text.startswith("#") for text in texts(right)) == 2


def test_boxes_and_letters_stay_inside_small_axes(grown: Families) -> None:
    figure, axes = pyplot.subplots(figsize=(4, 1.6))
    plot.family(grown, (0, 0), ax=axes)
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    for patch in axes.patches:
        assert frame.padded(2).contains(*patch.get_window_extent().min)
        assert frame.padded(2).contains(*patch.get_window_extent().max)


def test_what_cannot_be_drawn_is_said(grown: Families, widths: list[FeatureStore]) -> None:
    with pytest.raises(
        UniversalityError, match=r"root: expected \(level, feature\) within the widths 2, 3, found \(0, 2\)"
    ):
        plot.family(grown, (0, 2))
    with pytest.raises(UniversalityError, match="stores: expected one for each of 2 widths, found 1"):
        plot.family(grown, stores=widths[:1])
    assert plot.family(grown, (1, 2)).texts[-1].get_text() == "3 features"


def test_the_whole_graph_is_not_built(grown: Families, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Families, "graph", property(lambda _: 1 / 0))
    began = time.process_time()
    plot.family(grown)
    assert time.process_time() - began < 2


def test_an_icicle_has_a_row_a_width_and_a_column_a_last_member(grown: Families) -> None:
    _, axes = pyplot.subplots()
    assert plot.icicle(grown, ax=axes) is axes
    assert axes.images[0].get_array().shape == (2, 3, 3)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2 features", "3 features"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["text", "other kinds"]

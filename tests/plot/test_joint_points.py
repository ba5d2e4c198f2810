"""The figure of a map shows each feature at its place, and refuses what is not on the map."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from universality import plot
from universality.errors import UniversalityError
from universality.maps import CrossEdges, FeatureMap, JointMap, PartnerRanks, Trust


def joint(n: int = 30) -> JointMap:
    """A map made by hand: feature i of B lies just right of feature i of A, and the last of each is alone."""
    xy = np.stack([np.arange(n), np.zeros(n)], axis=1).astype(float)
    pairs, trust = np.arange(n - 1), Trust(0.9, n, 5)
    ranks = PartnerRanks(np.zeros((2, n), np.int64), (n, n))
    edges = CrossEdges(pairs, pairs, np.linspace(0.1, 0.9, n - 1), np.linspace(0.1, 0.9, n - 1))
    code, level = np.arange(n) // 10, np.full(n, 0.05)
    alone = np.arange(n) == n - 1
    return JointMap(
        xy, xy + 0.1, code, code, edges, level, level, alone, alone, (trust, trust), ranks, ranks, ranks, 0, {}
    )


def places(axes: object, which: int) -> np.ndarray:
    return np.asarray(axes.collections[which].get_offsets())  # type: ignore[attr-defined]


def test_both_models_are_drawn_and_what_is_alone_is_ringed() -> None:
    made, axes = joint(), Figure().subplots()
    assert plot.map(made, names=("<b>", "$x$"), ax=axes) is axes
    drawn = np.concatenate([places(axes, k) for k in range(len(axes.collections) - 1)])
    assert_allclose(np.sort(drawn, axis=0), np.sort(np.concatenate([made.xy_a, made.xy_b]), axis=0))
    assert_allclose(places(axes, -1), [made.xy_a[-1], made.xy_b[-1]])
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert sorted(texts) == ["$x$ (30)", "<b> (30)", "alone (2)"]
    assert list(axes.get_xticks()) == []


def test_numbers_get_a_scale_and_unknown_ones_are_pale() -> None:
    figure = Figure()
    plot.map(joint(), colour="r", ax=figure.subplots())
    assert figure.axes[1].get_ylabel() == "r of the strongest edge to the other model"
    coloured = [part for part in figure.axes[0].collections if part.get_array() is not None]
    assert sum(len(part.get_array()) for part in coloured) == 58  # type: ignore[arg-type]


def test_values_of_ones_own_and_rare_categories() -> None:
    made, axes = joint(), Figure().subplots()
    kinds = np.array(["code", "prose", "html", "dna", "logs", "maths"] * 9 + [f"rare {i}" for i in range(6)])
    plot.map(made, colour=kinds, ax=axes)
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert set(texts) == {f"{kind} (9)" for kind in set(kinds[:6])} | {"alone (2)"}


def test_marked_pairs_are_joined_and_labelled() -> None:
    made, axes = joint(), Figure().subplots()
    plot.map(made, pairs=([1, 2], [4, 2]), labels=["a name", "中"], ax=axes)
    assert_allclose(axes.lines[0].get_xydata(), [made.xy_a[1], made.xy_b[4]])
    assert [text.get_text() for text in axes.texts] == ["a name", "U+4E2D"]


def test_a_single_map_is_coloured_by_cluster_and_an_empty_one_is_said() -> None:
    one = FeatureMap(np.random.default_rng(0).normal(size=(9, 2)), np.repeat([0, 1, -1], 3), Trust(0.8, 9, 3), {})
    axes = Figure().subplots()
    plot.map(one, ax=axes)
    assert [len(part.get_offsets()) for part in axes.collections] == [3, 6]
    assert len(np.unique(axes.collections[1].get_facecolors(), axis=0)) == 2  # one a cluster
    assert len(axes.figure.axes) == 1  # and no scale: the numbers of clusters have no order
    axes = Figure().subplots()
    plot.map(replace(one, xy=np.full((9, 2), np.nan)), ax=axes)
    assert axes.texts[0].get_text() == "no feature is placed"
    with pytest.raises(UniversalityError, match="need a map of two models"):
        plot.map(one, colour="r", ax=axes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"colour": "size"}, "expected colour 'model', 'r', 'cluster' or an array, found 'size'"),
        ({"colour": [1, 2]}, r"one colour for each of the 60 rows of to_frame\(\), found shape \(2,\)"),
        ({"pairs": ([1], [2, 3])}, "as many features of A as of B"),
        ({"pairs": ([1], [2]), "labels": []}, "found 1 and 1, and 0 labels"),
        ({"pairs": ([1], [30])}, "feature 30 of B is not on the map, which has 30 features, 30 of them placed"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(UniversalityError, match=message):
        plot.map(joint(), ax=Figure().subplots(), **given)  # type: ignore[arg-type]

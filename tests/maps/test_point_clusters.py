"""Clusters are the groups that points form, named by what their features share."""

import numpy as np
from numpy.testing import assert_array_equal

from universality.maps.point_clusters import clusters, name_clusters


def test_groups_are_numbered_by_size_and_points_off_the_map_belong_to_none() -> None:
    rng = np.random.default_rng(0)
    xy = np.concatenate([rng.normal(0, 0.1, (20, 2)), rng.normal(9, 0.1, (40, 2)), [[np.nan, np.nan]]])
    code = clusters(xy)
    assert set(code[:20]) <= {1, -1}
    assert set(code[20:60]) <= {0, -1}
    assert (code[:60] >= 0).mean() > 0.8
    assert code[60] == -1


def test_few_points_form_no_cluster() -> None:
    assert_array_equal(clusters(np.zeros((5, 2))), -1)


def test_a_name_says_what_a_cluster_has_and_others_lack() -> None:
    cluster = np.array([0] * 4 + [1] * 4 + [-1])
    words = [["the", "def"], ["the", "def"], ["the", "return"], ["the", "def"],
             ["the", "<b>"], ["the", "<b>"], ["the"], ["the"], ["the"]]  # fmt: skip
    kinds = ["code"] * 4 + ["html", "prose", "code", "dna"] + ["code"]
    assert name_clusters(cluster, kinds, words) == ["code: def, the", "<b>, the"]


def test_clusters_of_one_name_gain_words_then_kinds_then_numbers() -> None:
    def names(words: list[list[str]], kinds: list[str]) -> list[str]:
        return name_clusters(np.arange(len(words)) // 4, kinds, words)

    two = [["a", "b"]] * 3
    assert names([*two, ["a", "b", "c"], *two, ["a", "b", "d"]], [""] * 8) == ["a, b, c", "a, b, d"]
    assert names([["a", "b"]] * 8, ["code", "code", "dna", ""] * 2) == ["a, b, mostly code", "a, b, mostly code (2)"]
    assert names([["a", "b"]] * 8, ["code", "code", "dna", "", "dna", "dna", "", "code"]) == [
        "a, b, mostly code", "a, b, mostly dna"
    ]  # fmt: skip
    rare = [["x"], ["x"], *([str(i)] for i in range(18))], [["y"], ["y"], *([str(i)] for i in range(30, 48))]
    several = name_clusters(np.repeat([0, 1], 20), ["code"] * 40, rare[0] + rare[1])
    assert several == ["code: x", "code: y"]  # a tenth of the features share a word: too few but to tell two apart
    assert names([["a", "b"]] * 12, [""] * 12) == ["a, b", "a, b (2)", "a, b (3)"]
    assert names([["a"]] * 8 + [["a (2)"]] * 4, [""] * 12) == ["a", "a (3)", "a (2)"]  # a word that looks like a number


def test_features_that_share_nothing_are_mixed() -> None:
    assert name_clusters(np.zeros(8, int), [""] * 8, [[str(i)] for i in range(8)]) == ["mixed"]
    assert name_clusters(np.full(3, -1), [""] * 3, [[]] * 3) == []

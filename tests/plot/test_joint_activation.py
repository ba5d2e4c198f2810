"""A pair's histogram counts every token on which either feature fires, once."""

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_array_equal

from universality import FeatureStore, Similarity, plot
from universality.errors import MismatchError, UniversalityError
from universality.plot.joint_activation import joint_histogram
from universality.statistics import Calibration
from universality.statistics.synthetic import Planted, World, plant


def cells(axes: Any) -> np.ndarray:
    return np.ma.filled(axes.collections[0].get_array(), 0)


def test_tokens_fall_where_their_activations_are() -> None:
    histogram = joint_histogram(
        np.array([1, 2, 5, 9]), np.array([1.0, 4.0, 4.0, 3.9]), np.array([2, 7, 9]), np.array([2.0, 1.9, 0.1]), bins=4
    )
    expected = np.zeros((5, 5), int)
    expected[4, 4] = 1  # token 2: A 4.0, B 2.0, both the largest
    expected[1, 4] = 1  # token 9: A 3.9, B 0.1
    expected[0, [2, 4]] = 1  # tokens 1 and 5: only A, 1.0 and 4.0
    expected[4, 0] = 1  # token 7: only B, 1.9
    assert_array_equal(histogram.tokens, expected)
    assert (histogram.both, histogram.only_a, histogram.only_b) == (2, 2, 1)
    assert_array_equal(histogram.edges_a, [0, 1, 2, 3, 4])


def test_negative_activations_have_bins_below_zero() -> None:
    histogram = joint_histogram(np.array([0, 1]), np.array([-1.0, 1.0]), np.array([0, 1]), np.array([1.0, 1.0]), bins=2)
    assert_array_equal(histogram.tokens[1:, 1:], [[0, 0], [1, 1]])
    assert_array_equal(histogram.edges_a, [-1, 0, 1])


def test_a_shared_concept_is_drawn_on_the_axes_given_and_counted_in_words(planted: Planted) -> None:
    i = int(np.flatnonzero(planted.has_partner)[0])
    j = int(np.flatnonzero(planted.concept_b == planted.concept_a[i])[0])
    axes = Figure().subplots()
    assert plot.pair(planted.a, planted.b, i, j, ax=axes, names=("first", "second")) is axes
    fires_a, fires_b = (set(store.feature(f)[0]) for store, f in ((planted.a, i), (planted.b, j)))
    assert cells(axes).sum() == len(fires_a | fires_b)
    assert cells(axes)[1:, 1:].sum() == len(fires_a & fires_b)
    r = Similarity.activation(planted.a, planted.b).pairs([i], [j])[0]
    assert axes.get_title(loc="left") == (
        f"r = {r:.2f} over {planted.a.n_tokens:,} tokens\nboth fire on {len(fires_a & fires_b):,}, only the first on "
        f"{len(fires_a - fires_b):,}, only the second on {len(fires_b - fires_a):,}"
    )
    assert (axes.get_xlabel(), axes.get_ylabel()) == (f"first: {i}", f"second: {j}")
    assert axes.get_xticklabels()[0].get_text() == "silent"
    axes.figure.draw_without_rendering()


def test_with_a_calibration_r_is_the_held_out_one(planted: Planted, calibration: Calibration) -> None:
    best = calibration.by_quality()[0]
    i, j = int(calibration.match.rows[best]), int(calibration.match.cols[best])
    axes = plot.pair(planted.a, planted.b, i, j, calibration=calibration)
    assert axes.get_title(loc="left").startswith(f"held-out r = {calibration.held_out[best]:.2f} over ")
    rows, split = planted.a.feature(i)[0], np.asarray(planted.a.documents.split)
    reported = split[planted.a.tokens.document] == "report"
    assert f"over {reported.sum():,} tokens" in axes.get_title(loc="left")
    assert cells(axes)[:, 1:].sum() == reported[rows].sum() < rows.size
    other = int(calibration.match.cols[calibration.by_quality()[1]])
    unpaired = plot.pair(planted.a, planted.b, i, other, calibration=calibration)
    assert unpaired.get_title(loc="left").startswith("r on the reporting half = ")


def test_what_fires_too_rarely_has_no_r(planted: Planted, calibration: Calibration) -> None:
    from dataclasses import replace

    strict = replace(calibration, settings=calibration.settings | {"min_firings": 10**6})
    i, j = int(calibration.match.rows[0]), int(calibration.match.cols[0])
    title = plot.pair(planted.a, planted.b, i, j, calibration=strict).get_title(loc="left")
    assert title.startswith("held-out r = – (a feature fires fewer than 1000000 times) over ")


def test_features_that_never_fire_say_so(tmp_path: Any) -> None:
    from scipy import sparse

    writer = FeatureStore.create(tmp_path / "a.h5", 2, {})
    columns = {"token": [5, 6], "document": [0, 0], "position": [1, 2], "kind": ["k", "k"]}
    writer.append(sparse.csr_matrix(np.array([[0, 1], [0, 0]], np.float32)), **columns)
    with writer.finish() as store:
        axes = plot.pair(store, store, 0, 0)
    assert axes.texts[0].get_text() == "neither fires on these tokens"
    assert axes.get_title(loc="left").startswith("r = – over 2 tokens")


def test_other_tokens_and_features_that_do_not_exist_are_refused(planted: Planted, tmp_path: Any) -> None:
    other = plant(World(n_documents=10, n_shared=2, n_alone=2), tmp_path)
    with pytest.raises(MismatchError, match="both stores must see the same tokens"):
        plot.pair(planted.a, other.b, 0, 0)
    with pytest.raises(UniversalityError, match="features from 0 to 39 exist, found 40 to 40"):
        plot.pair(planted.a, planted.b, 40, 0)

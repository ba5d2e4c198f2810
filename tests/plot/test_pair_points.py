"""Scatter plots show each pair at its two numbers, and read the weights of these pairs alone."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from universality import FeatureStore, Similarity, plot
from universality.errors import UniversalityError
from universality.features import Dictionary
from universality.models.unembedding import Unembedding
from universality.plot.pair_points import FEW, Agreement, known_both, optimism
from universality.statistics import Calibration

DRAW = np.random.default_rng(0)


def points(axes: Any) -> np.ndarray:
    """Return the points [n, 2] of a scatter plot, in rising order."""
    drawn = np.asarray(axes.collections[0].get_offsets())
    return drawn[np.lexsort(drawn.T[::-1])]


def test_a_calibration_is_drawn_at_chosen_and_held_out_r(calibration: Calibration) -> None:
    axes = Figure().subplots()
    assert plot.held_out(calibration, ax=axes) is axes
    both = np.column_stack([calibration.match.scores, calibration.held_out])
    both = both[~np.isnan(both[:, 1])]
    assert_allclose(points(axes), both[np.lexsort(both.T[::-1])])
    n, _, gain = axes.get_title(loc="left").splitlines()
    assert n == f"n = {len(both)} pairs"
    assert gain == f"mean optimism {(both[:, 0] - both[:, 1]).mean():.3f}".replace("-", "−")


def test_some_pairs_of_a_table_are_drawn_alone(calibration: Calibration) -> None:
    some = calibration.to_frame().dropna(subset="held_out")[3:8]
    axes = plot.held_out(some)
    assert_allclose(points(axes)[:, 0], np.sort(some["score"]))
    assert plot.held_out(some[:0]).texts[0].get_text() == "no pairs"


def test_many_pairs_are_counted_in_hexagons_beside_a_scale() -> None:
    many = pd.DataFrame({"score": DRAW.random(FEW + 1), "held_out": DRAW.random(FEW + 1)})
    figure = Figure()
    left, right = figure.subplots(1, 2)
    plot.held_out(many, ax=right)
    assert right.collections[0].get_array().sum() == FEW + 1
    assert not left.has_data()
    assert figure.axes[2].get_ylabel() == "pairs in a cell"


@pytest.fixture(scope="module")
def weighed(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, FeatureStore]:
    """Two stores of 60 features with logit weights, of which the last never fires; one vocabulary for both."""
    table = DRAW.normal(size=(4, 30)).astype(np.float32)
    unembedding = Unembedding(table, np.ones(4, np.float32), np.ones(30, bool), center_d_model=False)
    stores = []
    for name in "ab":
        record = {"model": {"name": name, "hash": name}, "site": "resid_post"}
        writer = FeatureStore.create(tmp_path_factory.mktemp("weighed") / f"{name}.h5", 60, record)
        values = sparse.csr_matrix(np.eye(60, dtype=np.float32)[:59])
        writer.append(values, token=np.arange(59) % 30, document=[0] * 59, position=np.arange(1, 60), kind=["k"] * 59)
        directions = DRAW.normal(size=(60, 4)).astype(np.float32)
        stores.append(writer.finish(dictionary=Dictionary(directions, residual=directions), unembedding=unembedding))
    return stores[0], stores[1]


def table(n: int) -> pd.DataFrame:
    return pd.DataFrame({"row": np.arange(n), "col": np.arange(n)[::-1], "held_out": np.linspace(0.1, 0.9, n)})


def test_stores_and_their_similarity_give_the_same_points(weighed: tuple[FeatureStore, FeatureStore]) -> None:
    pairs, similarity = table(5), Similarity.logit(*weighed)
    expected = np.column_stack([pairs["held_out"], similarity.pairs(pairs["row"], pairs["col"])])
    for weights in (similarity, weighed):
        assert_allclose(points(plot.logit(pairs, weights)), expected, atol=1e-6)
    assert_allclose(points(plot.logit(pairs.assign(logit_r=expected[:, 1]))), expected)


def test_pairs_of_a_dead_feature_have_no_logit_r(weighed: tuple[FeatureStore, FeatureStore]) -> None:
    axes = plot.logit(pd.DataFrame({"row": [0, 59], "col": [1, 2], "held_out": [0.5, 0.6]}), weighed)
    assert axes.get_title(loc="left") == "n = 1 pair"


def test_only_the_weights_of_the_pairs_are_read(
    weighed: tuple[FeatureStore, FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, int]] = []
    real = h5py.Dataset.__getitem__

    def watched(dataset: h5py.Dataset, key: Any) -> Any:
        values = real(dataset, key)
        read.append((dataset.name, len(np.atleast_1d(values))))
        return values

    with FeatureStore.open(weighed[0].path) as a, FeatureStore.open(weighed[1].path) as b:
        monkeypatch.setattr(h5py.Dataset, "__getitem__", watched)
        plot.logit(table(3), (a, b))
    of_features = [(name, n) for name, n in read if name.startswith(("/dictionary", "/by_"))]
    assert {n for _, n in of_features} == {3}
    assert {name for name, _ in of_features} == {"/dictionary/decoder", "/dictionary/residual"}


def test_chance_is_that_of_other_pairs_that_fire_as_often(calibration: Calibration, planted_logit: Similarity) -> None:
    dashed = [line for line in plot.logit(calibration, planted_logit).lines if line.is_dashed()]
    assert len(dashed) == 1
    by_chance = planted_logit.dense()[np.ix_(calibration.match.rows, calibration.match.cols)]
    level = float(dashed[0].get_ydata()[0])
    others = by_chance[~np.eye(len(by_chance), dtype=bool)]
    assert abs(level - np.quantile(others, 0.95)) < 0.2
    given = plot.logit(calibration, planted_logit, by_chance=[0.25] * 3)
    assert [line.get_ydata()[0] for line in given.lines if line.is_dashed()] == [0.25]


@pytest.fixture
def planted_logit(calibration: Calibration) -> Similarity:
    return Similarity.from_dense(np.random.default_rng(1).uniform(-1, 1, calibration.match.shape))


def test_agreement_is_pearson_and_spearman() -> None:
    x = np.arange(1.0, 9)
    found = Agreement.of(x, np.exp(x))
    assert_allclose(found.spearman, 1)
    assert found.pearson < 0.9
    assert Agreement.of(x, -x).pearson == pytest.approx(-1)
    assert np.isnan(Agreement.of([1.0, 2.0], [1.0, 2.0]).pearson)
    assert_array_equal(known_both([1, np.nan, 3], [4, 5, np.nan]), [[1], [4]])
    assert np.isnan(optimism([np.nan], [1]))


def test_what_cannot_be_drawn_is_refused(calibration: Calibration, tmp_path: Path) -> None:
    with pytest.raises(UniversalityError, match=r"logit: a calibration has no logit weights; pass the two stores too"):
        plot.logit(calibration)
    with pytest.raises(UniversalityError, match="logit: the table lacks logit_r; it has the columns row, col"):
        plot.logit(table(3))
    with pytest.raises(UniversalityError, match=r"expected Similarity.logit\(a, b\) or two stores .* found tuple"):
        plot.logit(table(3), (1, 2))  # type: ignore[arg-type]
    with pytest.raises(UniversalityError, match="held_out: expected a calibration or a table with one row a pair"):
        plot.held_out(calibration.held_out)
    with pytest.raises(UniversalityError, match="expected two numbers for every pair, found 3 and 2"):
        known_both([1, 2, 3], [1, 2])

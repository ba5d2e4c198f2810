"""Samples of firings stand for all of them."""

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from universality.corpus.documents import DocumentTable
from universality.effects import ExactEffects, FiringSample, sample_firings
from universality.effects.firing_sample import N_STRATA, has_successor
from universality.errors import UniversalityError
from universality.features import FeatureStore

N_TOKENS, N_FEATURES = 3000, 60


def write(folder: Path, name: str, values: np.ndarray, quantity: str | None) -> FeatureStore:
    provenance = {} if quantity is None else {"quantity": quantity}
    table = DocumentTable(("d",), ("text",), ("d",), ("report",))
    writer = FeatureStore.create(folder / name, values.shape[1], provenance, documents=table)
    position = np.arange(len(values)) % 30 + 1
    writer.append(
        sparse.csr_matrix(np.float32(values)), token=position, document=np.zeros(len(values), int), position=position,
        kind=["text"] * len(values),
    )  # fmt: skip
    return writer.finish()


@pytest.fixture
def stores(tmp_path: Path) -> tuple[FeatureStore, FeatureStore]:
    rng = np.random.default_rng(0)
    fires = rng.random((N_TOKENS, N_FEATURES)) < np.geomspace(0.005, 0.3, N_FEATURES)
    effects = fires * rng.standard_normal(fires.shape) * np.linspace(0.1, 1, N_FEATURES)
    effects[:, ::7] = 0  # features without first-order effects are sampled all the same
    return write(tmp_path, "a.h5", fires * rng.uniform(1, 2, fires.shape), None), write(
        tmp_path, "e.h5", effects, "effect"
    )


def test_weights_stand_for_all_firings_that_a_token_follows(stores: tuple[FeatureStore, FeatureStore]) -> None:
    activations, effects = stores
    sample = sample_firings(activations, effects, 500)
    followed = has_successor(activations)
    assert followed.sum() == N_TOKENS - N_TOKENS // 30
    assert followed[sample.row].all()
    assert sample.weight.sum() == pytest.approx(activations.csr()[followed].nnz, rel=0.02)
    matrix = activations.csr().toarray()
    np.testing.assert_array_equal(sample.activation, matrix[sample.row, sample.feature])
    np.testing.assert_array_equal(sample.first_order, effects.csr().toarray()[sample.row, sample.feature])
    mean = np.average(np.abs(sample.first_order), weights=sample.weight)
    expected = np.abs(effects.csr()[followed]).sum() / activations.csr()[followed].nnz
    assert mean == pytest.approx(expected, rel=0.1)
    assert np.mean(np.abs(sample.first_order)) != pytest.approx(expected, rel=0.1)  # rare features are over-represented


def test_strata_are_drawn_alike(stores: tuple[FeatureStore, FeatureStore]) -> None:
    sample = sample_firings(*stores, 250)
    sizes = np.bincount(sample.density * N_STRATA + sample.size, minlength=N_STRATA**2)
    assert sizes.tolist() == [10] * N_STRATA**2
    counts = stores[0].moments().count[sample.feature]
    assert counts[sample.density == 0].max() <= counts[sample.density == N_STRATA - 1].min()
    assert len(set(zip(sample.feature, sample.row, strict=True))) == len(sample)
    again, other = sample_firings(*stores, 250), sample_firings(*stores, 250, seed=1)
    assert np.array_equal(sample.row, again.row)
    assert not np.array_equal(sample.row, other.row)


def test_a_store_without_firings_is_refused(tmp_path: Path) -> None:
    silent = np.zeros((30, 3))
    stores = write(tmp_path, "a.h5", silent, None), write(tmp_path, "e.h5", silent, "effect")
    with pytest.raises(UniversalityError, match="expected features that fire and n >= 1, found 0"):
        sample_firings(*stores)


def test_accuracy_and_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n, same = 400, np.zeros(400, int)
    x = rng.standard_normal(n)
    stratum = np.arange(n) % N_STRATA
    weight = np.where(np.arange(n) < 200, 10.0, 0.0)  # the second half stands for nothing
    y = np.where(np.arange(n) < 200, 2 * x, -x)
    result = ExactEffects(FiringSample(same, same, x, x, stratum, stratum, weight), y, {"n": n})
    accuracy = result.accuracy()
    assert (accuracy.slope, accuracy.spearman, accuracy.sign) == pytest.approx((2, 1, 1))
    assert result.accuracy(np.zeros(n, bool)).n == 0
    summary = result.summary()
    assert summary["by"].tolist() == ["all"] + ["density"] * N_STRATA + ["size"] * N_STRATA
    for name in ("x.json", "x.npz"):
        loaded = ExactEffects.load(result.save(tmp_path / name))
        assert loaded.to_frame().equals(result.to_frame())
        assert loaded.provenance == {"n": n}


def test_rank_correlation_is_that_of_scipy() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 9, (2, 200)).astype(float)
    y += x
    same = np.zeros(200, int)
    result = ExactEffects(FiringSample(same, same, x, x, same, same, np.ones(200)), y, {})
    assert result.accuracy().spearman == pytest.approx(spearmanr(x, y).statistic)

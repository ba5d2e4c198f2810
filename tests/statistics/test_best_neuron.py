from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix

from universality.corpus import DocumentTable
from universality.errors import MismatchError
from universality.features import FeatureStore
from universality.statistics import best_neurons

N_DOCUMENTS, N_TOKENS = 40, 30


def write(path: Path, dense: np.ndarray, document: np.ndarray, splits: tuple[str, ...]) -> FeatureStore:
    names = tuple(map(str, range(N_DOCUMENTS)))
    table = DocumentTable(id=names, kind=("text",) * N_DOCUMENTS, group=names, split=splits)
    writer = FeatureStore.create(path, dense.shape[1], {}, table)
    position = np.tile(np.arange(1, N_TOKENS + 1), len(document) // N_TOKENS)
    kind = np.full(len(document), "text")
    writer.append(csr_matrix(dense.astype(np.float32)), token=position, document=document, position=position, kind=kind)
    return writer.finish()


@pytest.fixture
def world(tmp_path: Path) -> tuple[FeatureStore, FeatureStore, np.ndarray, np.ndarray, np.ndarray]:
    """Feature 0 is neuron 2 with noise, feature 1 is nothing, feature 2 fires thrice; neurons of half the documents."""
    rng = np.random.default_rng(0)
    document = np.repeat(np.arange(N_DOCUMENTS), N_TOKENS)
    neurons = np.maximum(rng.normal(size=(len(document), 5)), 0)
    features = np.maximum(rng.normal(size=(len(document), 3)) - 1, 0)
    features[:, 0] = np.maximum(neurons[:, 2] + rng.normal(scale=0.3, size=len(document)) - 0.5, 0)
    features[:, 2] = 0
    features[[31, 95, 150], 2] = 1
    splits = tuple("choose" if i % 4 < 2 else "report" for i in range(N_DOCUMENTS))
    kept = document % 2 == 0
    a = write(tmp_path / "a.h5", features, document, splits)
    n = write(tmp_path / "n.h5", neurons[kept], document[kept], splits)
    return a, n, features[kept], neurons[kept], document[kept]


def test_a_feature_that_is_a_neuron_finds_it(world) -> None:
    store, neurons, x, y, document = world
    found = best_neurons(store, neurons, np.array([1, 0, 2]))
    assert_array_equal(found["feature"], [1, 0, 2])
    assert found.loc[1, "neuron"] == 2
    halves = [document % 4 < 2, document % 4 >= 2]
    r = [np.corrcoef(x[half, :2].T, y[half].T)[:2, 2:] for half in halves]
    assert_allclose(found.loc[1, "r"], r[1][0, 2], atol=1e-6)
    assert found.loc[1, "r"] > 0.8
    # the control: nothing is like feature 1, so the neuron that chance chose on one half has no r on the other
    assert found.loc[0, "neuron"] == r[0][1].argmax()
    assert_allclose(found.loc[0, "r"], r[1][1, r[0][1].argmax()], atol=1e-6)
    assert abs(found.loc[0, "r"]) < 0.15


def test_of_a_feature_that_hardly_fires_nothing_is_said(world) -> None:
    store, neurons, *_ = world
    found = best_neurons(store, neurons, np.array([2]))
    assert found.loc[0, "neuron"] == -1
    assert np.isnan(found.loc[0, "r"])


def test_without_halves_all_tokens_choose_and_report(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    document = np.repeat(np.arange(N_DOCUMENTS), N_TOKENS)
    x = np.maximum(rng.normal(size=(len(document), 2)), 0)
    y = np.column_stack([x[:, 1], x[:, 0] + rng.random(len(document))])
    splits = ("report",) * N_DOCUMENTS
    store, neurons = (write(tmp_path / f"{n}.h5", v, document, splits) for n, v in (("a", x), ("n", y)))
    found = best_neurons(store, neurons, np.array([0, 1]))
    assert_array_equal(found["neuron"], [1, 0])
    assert_allclose(found["r"], [np.corrcoef(x[:, 0], y[:, 1])[0, 1], 1], atol=1e-6)
    assert len(best_neurons(store, neurons, np.array([], dtype=np.int64))) == 0


def test_neurons_of_other_tokens_are_refused(tmp_path: Path) -> None:
    document = np.repeat(np.arange(N_DOCUMENTS), N_TOKENS)
    splits = ("report",) * N_DOCUMENTS
    dense = np.ones((len(document), 1))
    store = write(tmp_path / "a.h5", dense, document, splits)
    cut = np.flatnonzero((document < 3) & (np.arange(len(document)) % N_TOKENS < 10))
    names = tuple(map(str, range(N_DOCUMENTS)))
    table = DocumentTable(id=names, kind=("text",) * N_DOCUMENTS, group=names, split=splits)
    writer = FeatureStore.create(tmp_path / "n.h5", 1, {}, table)
    position = cut % N_TOKENS + 1
    writer.append(
        csr_matrix(dense[cut].astype(np.float32)),
        token=position, document=document[cut], position=position, kind=np.full(len(cut), "text"),
    )  # fmt: skip
    with pytest.raises(MismatchError, match=r"expected whole documents of .*collect features and neurons"):
        best_neurons(store, writer.finish(), np.array([0]))

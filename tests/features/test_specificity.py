"""Planted kinds are found; a feature that fires everywhere belongs to none more than chance."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from universality.features.specificity import Specificity, kind_purity, specificity
from universality.features.storage.store import FeatureStore

KINDS = ("prose", "dna", "hebrew")
SHARES = (0.7, 0.1, 0.2)
N_TOKENS = 3000


def planted(tmp_path: Path) -> tuple[FeatureStore, np.ndarray, np.ndarray]:
    """Feature 0 of dna on all of it, 1 of dna on a tenth of it, 2 everywhere, 3 hebrew and some prose, 4
    dead."""
    rng = np.random.default_rng(0)
    kind = np.repeat(KINDS, [int(share * N_TOKENS) for share in SHARES])
    rng.shuffle(kind)
    x = np.zeros((N_TOKENS, 5), dtype=np.float32)
    dna, hebrew = kind == "dna", kind == "hebrew"
    x[dna, 0] = rng.uniform(1, 2, dna.sum())
    x[np.flatnonzero(dna)[::10], 1] = 5
    x[:, 2] = rng.uniform(1, 2, N_TOKENS)
    x[hebrew, 3] = 3
    x[np.flatnonzero(kind == "prose")[:50], 3] = 1
    with FeatureStore.create(tmp_path / "a.h5", 5, {}) as writer:
        for start in range(0, N_TOKENS, 700):
            part = slice(start, start + 700)
            n = len(kind[part])
            rows = sparse.csr_matrix(x[part])
            document, ones = np.arange(start, start + n), np.ones(n, int)
            writer.append(rows, token=ones, document=document, position=ones, kind=kind[part])
    return FeatureStore.open(tmp_path / "a.h5"), x, kind


def test_planted_kinds_are_found(tmp_path: Path) -> None:
    store, _, _ = planted(tmp_path)
    purity, names = kind_purity(store)
    assert names == ["dna", "dna", "prose", "hebrew", None]
    assert_allclose(purity[[0, 1, 4]], [1, 1, 0])
    assert_allclose(purity[3], 1800 / 1850)
    best = specificity(store).best().set_index("kind")
    assert best.loc["dna", "feature"] == 0
    assert best.loc["hebrew", "feature"] == 3
    assert_allclose(best.loc["dna", ["f1", "precision", "recall", "chance", "lift"]].astype(float), [1, 1, 1, 0.1, 10])
    assert_array_equal(best.loc["hebrew", ["tokens", "firings"]].astype(int), [600, 600])


def test_control_a_feature_that_fires_everywhere_has_no_kind_beyond_chance(tmp_path: Path) -> None:
    store, _, _ = planted(tmp_path)
    found = specificity(store)
    chance = found.chance[[found.kinds.index(name) for name in KINDS]]
    assert_allclose(chance, SHARES)
    assert_allclose(found.precision[2], found.chance, atol=0.02)


def test_a_rare_pure_feature_has_precision_but_not_recall(tmp_path: Path) -> None:
    store, _, _ = planted(tmp_path)
    found = specificity(store)
    dna = found.kinds.index("dna")
    assert_allclose(found.precision[1, dna], 1)
    assert_allclose(found.recall[1, dna], 0.1)
    assert_allclose(found.f1[1, dna], 2 * 0.1 / 1.1)


@pytest.mark.parametrize("per_block", [30, 500, 10**6])
def test_equals_the_dense_sums_however_the_blocks_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_block: int
) -> None:
    store, x, kind = planted(tmp_path)
    monkeypatch.setattr(FeatureStore.column_blocks, "__defaults__", (per_block,))
    found = specificity(store)
    for k, name in enumerate(found.kinds):
        of_kind = x[kind == name]
        assert_allclose(found.mass[:, k], np.abs(of_kind).sum(0, dtype=np.float64))
        assert_array_equal(found.firings[:, k], (of_kind != 0).sum(0))
        assert found.kind_tokens[k] == len(of_kind)


def test_magnitudes_count_where_activations_are_negative(tmp_path: Path) -> None:
    with FeatureStore.create(tmp_path / "n.h5", 1, {}) as writer:
        writer.append(sparse.csr_matrix(np.array([[-3], [1]], np.float32)), token=[0, 0], document=[0, 0],
                      position=[1, 2], kind=np.array(["a", "b"]))  # fmt: skip
    purity, names = kind_purity(FeatureStore.open(tmp_path / "n.h5"))
    assert names == ["a"]
    assert_allclose(purity, [0.75])


def test_a_kind_on_which_nothing_fires_and_one_without_tokens() -> None:
    counts = np.array([[4, 0, 0]])
    found = Specificity(("a", "silent", "absent"), np.array([8, 2, 0]), counts.astype(float), counts)
    best = found.best()
    assert list(best["kind"]) == ["a", "silent"]
    assert list(best["feature"]) == [0, -1]
    assert_allclose(best["recall"], [0.5, 0])
    assert_array_equal(found.recall[:, 2], [0])


def test_without_kinds_every_feature_is_of_none() -> None:
    found = Specificity((), np.zeros(0, np.int64), np.zeros((2, 0)), np.zeros((2, 0), np.int64))
    assert found.kind_names == [None, None]
    assert_array_equal(found.purity, [0, 0])
    assert found.best().empty


def test_documents_that_are_named_count_alone(tmp_path: Path) -> None:
    store, x, kind = planted(tmp_path)
    named = np.arange(0, N_TOKENS, 3)  # every token is a document
    measured = specificity(store, named)
    for code, name in enumerate(measured.kinds):
        rows = named[kind[named] == name]
        assert measured.kind_tokens[code] == rows.size
        assert_allclose(measured.mass[:, code], x[rows].sum(axis=0), rtol=1e-6)
        assert_array_equal(measured.firings[:, code], (x[rows] != 0).sum(axis=0))

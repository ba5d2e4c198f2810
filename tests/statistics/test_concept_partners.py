from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_matrix

from universality.corpus import DocumentTable
from universality.features import FeatureStore
from universality.statistics import calibrate, concept_table

KINDS = ("greek", "dna", "code")
PERMUTATION = np.array([2, 0, 3, 1])  # feature i of A is feature PERMUTATION[i] of B


def write(path: Path, dense: np.ndarray, document: np.ndarray, table: DocumentTable) -> FeatureStore:
    writer = FeatureStore.create(path, dense.shape[1], {}, table)
    position = np.tile(np.arange(1, 51), len(document) // 50)
    kind = np.array(table.kind)[document]
    writer.append(csr_matrix(dense), token=position, document=document, position=position, kind=kind)
    return writer.finish()


@pytest.fixture
def stores(tmp_path: Path) -> tuple[FeatureStore, FeatureStore]:
    """Features 0, 1, 2 of A fire on one kind each, 3 on anything; B has the same in another order, and noise."""
    rng = np.random.default_rng(0)
    n_documents = 60
    document = np.repeat(np.arange(n_documents), 50)
    names = tuple(map(str, range(n_documents)))
    kinds = tuple(KINDS[i % 3] for i in range(n_documents))
    splits = tuple("choose" if i % 2 else "report" for i in range(n_documents))
    table = DocumentTable(id=names, kind=kinds, group=names, split=splits)
    of_kind = np.array([KINDS.index(k) for k in kinds])[document]
    concept = np.stack([(of_kind == k) * rng.exponential(1, len(document)) for k in range(3)], 1)
    anywhere = rng.exponential(1, len(document)) * (rng.random(len(document)) < 0.3)
    a = np.column_stack([concept, anywhere]).astype(np.float32)
    b = np.empty_like(a)
    b[:, PERMUTATION] = a * rng.uniform(0.8, 1.2, a.shape)
    return write(tmp_path / "a.h5", a, document, table), write(tmp_path / "b.h5", b, document, table)


def test_each_kind_gets_its_feature_and_its_partner(stores) -> None:
    table = concept_table(*stores, calibrate(*stores, replicates=2, bootstrap=20), min_tokens=100).set_index("kind")
    assert_array_equal(table.loc[list(KINDS), "feature"], [0, 1, 2])
    assert_array_equal(table.loc[list(KINDS), "partner"], PERMUTATION[:3])
    assert_array_equal(table["partner"], table["own_best"])
    assert (table["held_out"] > 0.9).all()
    assert (table["f1"] > 0.9).all()
    assert_array_equal(table["known_by"], 1)
    assert_array_equal(table["most_alike"], table["feature"])
    assert_array_equal(table["most_alike_held_out"], table["held_out"])
    assert ((table["ci_low"] <= table["held_out"]) & (table["held_out"] <= table["ci_high"])).all()


def test_the_most_alike_of_a_kinds_features_is_found(tmp_path: Path, stores) -> None:
    """A feature that knows the kind a little worse, but is the same in both models, is named beside the best."""
    rng = np.random.default_rng(1)
    a, b = (store.csr().toarray() for store in stores)
    dna = a[:, 1] > 0
    half = a[:, 1] * (rng.random(len(a)) < 0.6)
    b[:, PERMUTATION[1]] = dna * rng.exponential(1, len(a))  # B's feature of the kind has other strengths
    document, table = stores[0].tokens.document, stores[0].documents
    pair = [
        write(tmp_path / f"{name}2.h5", np.column_stack([side, half]).astype(np.float32), document, table)
        for name, side in (("a", a), ("b", b))
    ]
    found = (
        concept_table(*pair, calibrate(*pair, replicates=1, bootstrap=0), min_tokens=100).set_index("kind").loc["dna"]
    )
    assert (found["feature"], found["known_by"], found["most_alike"]) == (1, 2, 4)
    assert found["held_out"] < 0.9 < found["most_alike_held_out"]


def test_kinds_of_few_tokens_are_left_out(stores) -> None:
    assert len(concept_table(*stores, calibrate(*stores, replicates=1, bootstrap=0), min_tokens=10**6)) == 0


def test_a_feature_without_a_partner_has_no_score(stores) -> None:
    table = concept_table(*stores, calibrate(*stores, replicates=1, bootstrap=0, floor=0.9999), min_tokens=100)
    assert (table["partner"] == -1).all()
    assert (table["most_alike"] == -1).all()
    assert table[["most_alike_held_out", "score", "held_out", "partner_f1"]].isna().all(axis=None)

"""The null counts what the rule lets through on unrelated text, and says when it cannot."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from universality.family import Families, families
from universality.features.storage.store import FeatureStore
from universality.features.storage.token_table import Dictionary


def test_planted_edges_are_far_beyond_chance(planted: Families) -> None:
    assert [[met.linked for met in step] for step in planted.chance.repaired] == [[0, 0], [0, 0]]
    assert planted.chance.share == 1
    levels = planted.summary()["levels"]
    assert [level["edges_in"] for level in levels] == [None, 8, 18]
    assert [level["chance_edges_in"] for level in levels] == [None, 0, 0]


def test_control_a_rule_that_asks_for_little_passes_chance_pairs(stores: list[FeatureStore]) -> None:
    found = families(stores, min_decoder_cosine=-1, min_masked_cosine=0.05, min_coverage=0)
    assert all(met.linked > 10 for step in found.chance.repaired for met in step)


def test_features_that_fire_everywhere_are_counted(plants: tuple, write_store: Callable[..., FeatureStore]) -> None:
    x, decoder = plants[0].x.copy(), plants[0].decoder
    x[:, 0] += 1
    stores = [
        write_store("a", x, decoder),
        write_store("b", np.pad(x, ((0, 0), (0, 1))), np.pad(decoder, ((0, 1), (0, 0)))),
    ]
    found = families(stores, n_replicates=3)
    linked = [met.linked for met in found.chance.repaired[0]]
    assert linked == [1, 1, 1], "two dense features that write alike are linked on any text"


def test_seeds_decide(stores: list[FeatureStore]) -> None:
    def edges(seed: int) -> object:
        asks_little = {"min_decoder_cosine": -1, "min_masked_cosine": 0.1, "min_coverage": 0.0}
        return families(stores[:2], **asks_little, n_replicates=3, seed=seed).chance.repaired

    assert edges(1) == edges(1)
    assert edges(1) != edges(2)


def test_without_replicates_nothing_is_counted(stores: list[FeatureStore]) -> None:
    found = families(stores, n_replicates=0)
    assert found.chance.repaired == ((), ())
    assert found.summary()["levels"][1]["chance_edges_in"] is None
    assert found.summary()["null_note"] == "not asked for"


def test_one_document_has_no_other_to_meet(tmp_path: object) -> None:
    rng = np.random.default_rng(0)
    stores = []
    for width in (2, 3):
        writer = FeatureStore.create(f"{tmp_path}/{width}.h5", width, {"model": {"hash": "m"}})
        x = sparse.csr_matrix(rng.random((50, width)).astype(np.float32))
        writer.append(x, token=np.zeros(50, int), document=np.zeros(50, int), position=np.arange(1, 51),
                      kind=np.full(50, "k"))  # fmt: skip
        stores.append(writer.finish(dictionary=Dictionary(decoder=rng.random((width, 4)))))
    found = families(stores, n_replicates=3)
    assert found.chance.repaired == ((),)
    assert "needs full blocks of 50 tokens from at least two groups" in found.summary()["null_note"]


def test_negative_replicates_are_refused(stores: list[FeatureStore]) -> None:
    with pytest.raises(ValueError, match="replicates must be at least 0, found -1"):
        families(stores, n_replicates=-1)


@pytest.fixture
def other_seed(plants: tuple, write_store: Callable[..., FeatureStore]) -> FeatureStore:
    """The middle dictionary read again: other errors, another order."""
    rng, plant = np.random.default_rng(9), plants[1]
    order = rng.permutation(len(plant.sets))
    noise = 0.1 * rng.standard_normal(plant.decoder.shape) / np.sqrt(plant.decoder.shape[1])
    x = plant.x * rng.uniform(0.8, 1.2, plant.x.shape) * (rng.random(plant.x.shape) < 0.9)
    return write_store("other", x[:, order].astype(np.float32), (plant.decoder + noise)[order].astype(np.float32))


def test_a_dictionary_that_has_not_grown_does_not_split(stores: list[FeatureStore], other_seed: FeatureStore) -> None:
    found = families(stores, reseeded=[other_seed], n_replicates=0, bootstrap=0)
    (same,) = found.chance.reseeded
    assert (same.level, same.name) == (1, "other.h5")
    assert (same.edges, same.split, same.merged, same.novel, same.childless) == (10, 0, 0, 0, 0)
    assert same.eligible_parents == same.eligible_children == 10
    said = found.summary()["levels"][1]["same_width"]
    assert [some["children_per_parent"] for some in said] == [1]
    assert found.summary()["levels"][0]["same_width"] == []
    assert_same_edges(found, families(stores, n_replicates=0, bootstrap=0))


def assert_same_edges(a: Families, b: Families) -> None:
    for name, column in a.edges.columns().items():
        assert_allclose(b.edges.columns()[name], column, err_msg=name)

"""Planted splits, merges and novel features come back; with tokens or directions shuffled nothing does."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose

import universality
from universality.errors import MismatchError
from universality.family import Families, families
from universality.features.storage.store import FeatureStore

Node = tuple[int, int]


def test_every_planted_edge_and_no_other(planted: Families, true_edges: set[tuple[Node, Node]]) -> None:
    found = set(planted.graph.edges)
    hits = len(found & true_edges)
    assert hits / len(found) == 1.0, "precision"
    assert hits / len(true_edges) == 1.0, "recall"


def test_control_shuffled_tokens_give_no_edges(plants: tuple, write_store: Callable[..., FeatureStore]) -> None:
    rng = np.random.default_rng(3)
    stores = [write_store(f"w{len(p.sets)}", p.x[rng.permutation(len(p.x))], p.decoder) for p in plants]
    assert len(families(stores, n_replicates=0).edges) == 0


def test_control_shuffled_decoder_rows_give_no_edges(plants: tuple, write_store: Callable[..., FeatureStore]) -> None:
    rng = np.random.default_rng(3)
    stores = [
        write_store(f"w{len(p.sets)}", p.x, rng.standard_normal(p.decoder.shape).astype(np.float32)) for p in plants
    ]
    assert len(families(stores, n_replicates=0).edges) == 0


def test_a_feature_that_fires_everywhere_is_kept_out_by_its_direction_alone(
    plants: tuple, write_store: Callable[..., FeatureStore]
) -> None:
    rng = np.random.default_rng(4)
    narrow, middle = plants[:2]
    always = np.concatenate([narrow.x, rng.uniform(0.9, 1, (len(narrow.x), 1))], axis=1).astype(np.float32)
    decoder = np.concatenate([narrow.decoder, rng.standard_normal((1, narrow.decoder.shape[1]))], dtype=np.float32)
    stores = [write_store("a", always, decoder), write_store("b", middle.x, middle.decoder)]
    last = (0, narrow.x.shape[1])
    assert families(stores, n_replicates=0).graph.out_degree(last) == 0
    asks_nothing = {"min_decoder_cosine": -1, "min_recovered": -1e9, "n_replicates": 0}
    assert families(stores, **asks_nothing).graph.out_degree(last) == middle.x.shape[1]
    assert families(stores, min_decoder_cosine=-1, n_replicates=0).graph.out_degree(last) < middle.x.shape[1]


def test_a_small_memory_budget_gives_the_same(stores: list[FeatureStore]) -> None:
    a, b = families(stores, n_replicates=0), families(stores, n_replicates=0, memory_budget=100_000)
    for name, column in a.edges.columns().items():
        assert_allclose(b.edges.columns()[name], column)


def test_two_widths_are_enough_and_one_is_not(stores: list[FeatureStore]) -> None:
    assert len(families(stores[:2]).edges) == 8
    for few in (stores[:1], []):
        with pytest.raises(MismatchError, match=f"dictionaries of at least two widths, found {len(few)}"):
            families(few)


def test_the_root_name_can_be_called_before_and_after_the_package_is_imported(stores: list[FeatureStore]) -> None:
    for _ in range(2):
        assert len(universality.families(stores[:2], n_replicates=0).edges) == 8
    from universality import families as from_root

    assert len(from_root(stores[:2], n_replicates=0).edges) == 8


def test_nested_widths_of_one_dictionary(write_store: Callable[..., FeatureStore]) -> None:
    """As a Matryoshka SAE is cut: prefixes of one dictionary, whose later features refine earlier ones."""
    rng = np.random.default_rng(1)
    n_tokens, d_in, coarse = 12_000, 128, 8
    owner, part = rng.integers(0, coarse, n_tokens), rng.integers(0, 4, n_tokens)
    strength = rng.gamma(4, 0.25, n_tokens) * (rng.random(n_tokens) < 0.3)
    x = [np.where(owner == i, strength, 0) for i in range(coarse)]
    directions = list(rng.standard_normal((coarse, d_in)) / np.sqrt(d_in))
    for i in range(coarse):
        for k in range(3):  # the fourth part stays with the parent alone
            x.append(np.where((owner == i) & (part == k), strength, 0))
            directions.append(directions[i] + 0.8 * rng.standard_normal(d_in) / np.sqrt(d_in))
    x.append(strength * (rng.random(n_tokens) < 0.05))
    directions.append(rng.standard_normal(d_in) / np.sqrt(d_in))
    whole, decoder = np.stack(x, axis=1).astype(np.float32), np.stack(directions).astype(np.float32)
    cuts = [write_store(f"cut{w}", whole[:, :w], decoder[:w]) for w in (coarse, coarse + 12, len(decoder))]
    found = families(cuts, n_replicates=1)
    edges = {(a, b) for a, b in found.graph.edges}
    for level, width in enumerate((coarse, coarse + 12)):
        assert all(((level, i), (level + 1, i)) in edges for i in range(width)), "every feature is its own child"
    parent = {coarse + 3 * i + k: i for i in range(coarse) for k in range(3)}
    for child, above in parent.items():
        level = 1 if child < coarse + 12 else 2
        assert ((level - 1, above), (level, child)) in edges
    assert found.graph.nodes[2, len(decoder) - 1]["status"] == "novel"
    assert [met.linked for step in found.chance.repaired for met in step] == [0, 0]

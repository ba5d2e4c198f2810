"""Nested dictionaries, dictionaries that have not grown, paths, support, and families one by one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.errors import MismatchError
from universality.family import EdgeRule, Families, families
from universality.family.edge_support import draw_groups, support
from universality.family.edges import best_parents
from universality.family.family_members import purity_of_families
from universality.family.stored_firings import blocks, parts
from universality.features.storage.store import FeatureStore

WriteStore = Callable[..., FeatureStore]


@pytest.fixture
def other_seed(plants: tuple, write_store: WriteStore) -> FeatureStore:
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


def test_stores_that_are_no_other_seed_are_refused(
    stores: list[FeatureStore], plants: tuple, write_store: WriteStore
) -> None:
    x, decoder = plants[1].x, plants[1].decoder
    eleven = write_store("eleven", np.hstack([x, x[:, :1]]), np.vstack([decoder, decoder[:1]]))
    with pytest.raises(MismatchError, match=r"11 features, expected one of the families' widths, 5, 10, 21"):
        families(stores, reseeded=[eleven])
    with pytest.raises(MismatchError, match="itself, expected an SAE of another seed"):
        families(stores, reseeded=[stores[1]])
    foreign = write_store("foreign", x, decoder[::-1].copy(), model="n")
    with pytest.raises(MismatchError, match="model nnnnnnnn"):
        families(stores, reseeded=[foreign])


def test_nested_widths_of_one_dictionary(write_store: WriteStore) -> None:
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


def test_two_steps_lead_where_one_does(planted: Families) -> None:
    (path,) = planted.paths
    assert (path.level, path.jaccard) == (0, 0.8)  # [6] and [7] merge, and by way of [6, 7] reach each other's child
    assert path.features == 5
    assert path.chance < 0.5
    assert planted.summary()["paths"][0]["widths"] == [5, 10, 21]


def test_control_paths_of_unrelated_dictionaries_differ(plants: tuple, write_store: WriteStore) -> None:
    """The widest in an order of its own for the direct step only is impossible; so its parents are shuffled between."""
    from universality.family.consistent_paths import path_consistency

    stores = [write_store(f"p{i}", plant.x, plant.decoder) for i, plant in enumerate(plants)]
    found = families(stores, n_replicates=0, bootstrap=0)
    rng = np.random.default_rng(0)
    wrong = (rng.integers(0, 5, 18), rng.permutation(21)[:18])
    path = path_consistency(0, found.levels, found.edges, wrong, seed=0)
    assert path.jaccard < 0.4
    nothing = path_consistency(0, found.levels, found.edges.take(np.zeros(0, np.int64)), (wrong[0][:0],) * 2, seed=0)
    assert (nothing.features, nothing.jaccard, nothing.chance) == (0, None, None)


def test_support_is_the_share_of_resamples_that_pass(plants: tuple, stores: list[FeatureStore]) -> None:
    a, b = plants[0].x.astype(np.float64), plants[1].x.astype(np.float64)
    parent, child = (ends.ravel() for ends in np.meshgrid(np.arange(5), np.arange(10), indexing="ij"))
    rule = EdgeRule(min_coverage=0.5, min_masked_cosine=0.75, min_firings=200)
    group, weights = draw_groups(stores[0], 25, seed=3)
    held = support((stores[0], stores[1]), parent, child, rule, group, weights, 1 << 20)
    expected = []
    for i, j in zip(parent, child, strict=True):
        passed = 0
        for draw in weights:
            w = draw[group]
            x, y = a[:, i], b[:, j]
            both = w * ((x > 0) & (y > 0))
            norm = np.sqrt(min((w * x**2).sum() * (both * y**2).sum(), (both * x**2).sum() * (w * y**2).sum()))
            masked = (both * x * y).sum() / norm if norm else 0
            counts = (w * (x > 0)).sum(), (w * (y > 0)).sum()
            passed += min(counts) >= 200 and both.sum() >= 0.5 * counts[1] and masked >= 0.75
        expected.append(passed / len(weights))
    assert_allclose(held, expected)
    assert 0 < held.mean() < 1
    assert ((held > 0) & (held < 1)).any(), "some edges should be in doubt"


def test_support_is_one_where_nothing_is_in_doubt_and_unknown_without_resamples(
    planted: Families, stores: list[FeatureStore]
) -> None:
    assert_allclose(planted.edges.support, 1)
    unknown = families(stores, n_replicates=0, bootstrap=0)
    assert np.isnan(unknown.edges.support).all()
    assert unknown.summary()["levels"][0]["support"] is None
    assert {values["support"] for *_, values in unknown.graph.edges(data=True)} == {None}
    with pytest.raises(ValueError, match="bootstrap must be at least 0, found -1"):
        families(stores, bootstrap=-1)


def test_families_one_by_one(planted: Families, plants: tuple) -> None:
    table = planted.families_frame().set_index("family")
    root = plants[0].sets.index(frozenset({0, 1, 2, 3}))
    row = table.loc[f"5/{root}"]
    assert (row["root_width"], row["root"], row["size"], row["depth"]) == (5, root, 7, 2)
    tree = planted.tree()
    members = [node for node in tree if tree.nodes[node]["family"] == f"5/{root}"]
    kinds = [tree.nodes[node]["kind"] for node in members]
    assert_allclose(row["purity"], max(kinds.count(kind) for kind in kinds) / len(members))
    assert kinds.count(row["kind"]) == max(kinds.count(kind) for kind in kinds)
    sizes = [sum(1 for n in tree if tree.nodes[n]["family"] == label) for label in table.index]
    assert table["size"].tolist() == sizes
    assert planted.summary()["depth"] == 8 / 5  # of [6] and [7] only one is the best parent of [6, 7]


def test_purity_of_families_beyond_chance(plants: tuple, write_store: WriteStore) -> None:
    """Atoms that fire in documents of one kind only give pure families."""
    place = np.arange(len(plants[0].x)) // 50 % 3
    stores = []
    for i, plant in enumerate(plants[:2]):
        own = np.array([min(some) // 4 % 3 for some in plant.sets])
        stores.append(write_store(f"pure{i}", plant.x * (place[:, None] == own[None, :]), plant.decoder))
    found = families(stores, n_replicates=0, bootstrap=0)
    tree = found.edges.take(best_parents(found.edges))
    said = purity_of_families(found.levels, tree)
    assert said["purity"] == 1
    assert said["chance"] < 0.95
    assert said["families"] >= 1
    none = purity_of_families(found.levels, tree.take(np.zeros(0, np.int64)))
    assert none == {"families": 0, "purity": None, "chance": None}


def test_parts_cover_all_features_within_the_budget(stores: list[FeatureStore]) -> None:
    store = stores[2]
    x = store.csr().toarray()
    for budget in (1 << 30, 10_000):
        joined = np.zeros_like(x)
        for part in parts(store, budget):
            for p in range(store.n_tokens):
                here = slice(part.rows.start[p], part.rows.stop[p])
                joined[p, part.low + part.rows.indices[here]] = part.rows.data[here]
        assert (joined == x).all()
    assert len(list(parts(store, 10_000))) > 1
    by_feature = np.zeros_like(x)
    for block in blocks(store, 500):
        for i in range(block.high - block.low):
            here = slice(block.indptr[i], block.indptr[i + 1])
            by_feature[block.row[here], block.low + i] = block.value[here]
    assert (by_feature == x).all()


def test_one_document_gives_no_support(tmp_path: Path) -> None:
    """Every draw of one document is that document: its edges held in all of them and looked certain."""
    from stores import write_into

    rng = np.random.default_rng(0)
    x, decoder = (rng.random((100, 3)) < 0.4).astype(np.float32), np.eye(3, dtype=np.float32)
    for n_tokens, unknown in ((50, True), (100, False)):
        two = [write_into(tmp_path, f"{n_tokens}-{k}", x[:n_tokens, :k], decoder[:k]) for k in (2, 3)]
        found = families(two, n_replicates=0, bootstrap=10).edges.support
        assert found.size == 2
        assert np.isnan(found).all() == unknown

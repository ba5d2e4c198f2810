"""Families one by one, and their purity beyond chance."""

from collections.abc import Callable

import numpy as np
from numpy.testing import assert_allclose

from universality.family import Families, families
from universality.family.edges import best_parents
from universality.family.family_members import purity_of_families
from universality.features.storage.store import FeatureStore

WriteStore = Callable[..., FeatureStore]


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

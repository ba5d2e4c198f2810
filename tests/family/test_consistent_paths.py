"""Two steps lead where one does, and paths of unrelated dictionaries differ."""

from collections.abc import Callable

import numpy as np

from universality.family import Families, families
from universality.family.consistent_paths import path_consistency
from universality.features.storage.store import FeatureStore

WriteStore = Callable[..., FeatureStore]


def test_two_steps_lead_where_one_does(planted: Families) -> None:
    (path,) = planted.paths
    assert (path.level, path.jaccard) == (0, 0.8)  # [6] and [7] merge, and by way of [6, 7] reach each other's child
    assert path.features == 5
    assert path.chance < 0.5
    assert planted.summary()["paths"][0]["widths"] == [5, 10, 21]


def test_control_paths_of_unrelated_dictionaries_differ(plants: tuple, write_store: WriteStore) -> None:
    """The widest in an order of its own for the direct step only is impossible; so its parents are shuffled between."""
    stores = [write_store(f"p{i}", plant.x, plant.decoder) for i, plant in enumerate(plants)]
    found = families(stores, n_replicates=0, bootstrap=0)
    rng = np.random.default_rng(0)
    wrong = (rng.integers(0, 5, 18), rng.permutation(21)[:18])
    path = path_consistency(0, found.levels, found.edges, wrong, seed=0)
    assert path.jaccard < 0.4
    nothing = path_consistency(0, found.levels, found.edges.take(np.zeros(0, np.int64)), (wrong[0][:0],) * 2, seed=0)
    assert (nothing.features, nothing.jaccard, nothing.chance) == (0, None, None)

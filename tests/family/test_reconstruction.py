"""The reconstruction tests are their definitions, in a noisy world with planted splits, merges and novel features."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose
from world import World

from universality.errors import MismatchError
from universality.family import Families, families
from universality.features.storage.store import FeatureStore


def test_reconstruction_tests_are_their_definitions(world: World, linked: Families) -> None:
    (a, d), (b, e) = (tuple(m.astype(np.float64) for m in world.dictionary(side)) for side in (0, 1))
    x = world.activations.astype(np.float32) if linked.reconstruction == "activations" else b @ e
    r = x - a @ d
    r = r - r.mean(axis=0)
    for n in range(0, len(linked.edges), 7):
        i, j = linked.edges.parent[n], linked.edges.child[n]
        both = (a[:, i] > 0) & (b[:, j] > 0)
        without = r[both] + np.outer(a[both, i], d[i])
        replaced = without - np.outer(b[both, j], e[j])
        error, error_without, error_replaced = ((some**2).sum() for some in (r[both], without, replaced))
        expected = (error_without - error_replaced) / abs(error_without - error)
        assert_allclose(linked.edges.recovered[n], expected, rtol=1e-3, atol=1e-3)
    origins = linked.origins[1]
    for j in range(0, len(e), 5):
        fires = b[:, j] > 0
        inserted = r[fires] - np.outer(b[fires, j], e[j])
        energy = (b[fires, j] ** 2).sum() * (e[j] ** 2).sum()
        change = (r[fires] ** 2).sum() - (inserted**2).sum()
        assert_allclose(2 * origins.missing[j] - 1, change / energy, rtol=1e-3, atol=1e-3)
    for j in np.flatnonzero(origins.nearest >= 0):
        i, fires = origins.nearest[j], b[:, j] > 0
        cosine = (d @ e[j]) / (np.linalg.norm(d, axis=1) * np.linalg.norm(e[j]))
        assert i == cosine.argmax()
        assert_allclose(origins.nearest_cosine[j], cosine[i], rtol=1e-5)
        assert_allclose(origins.nearest_coverage[j], (a[fires, i] > 0).mean())
        along = x @ d[i]
        expected = (along[fires].mean() - along.mean()) / (along[a[:, i] > 0].mean() - along.mean())
        assert_allclose(origins.presence[j], expected, rtol=1e-3, atol=1e-3)


def test_inserting_a_novel_feature_lowers_the_error(world: World, linked: Families) -> None:
    missing = linked.origins[1].missing
    persists = [child for (_, child), kind in world.edges.items() if kind == "persists"]
    novel = [feature for feature, truth in world.status.items() if truth == "novel"]
    assert np.mean(missing[novel] > 0.5) == 1
    assert np.mean(missing[persists] > 0.5) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: [x[:-1]], "expected the 20000 tokens of .*w0.h5, found 19999"),
        (lambda x: [x, x[:1]], r"found shape \(1, 256\) after 20000 tokens"),
        (lambda x: [x[:, :9]], r"expected arrays \[n, 256\]"),
        (lambda x: [x[0]], r"found shape \(256,\)"),
    ],
)
def test_activations_that_do_not_fit_are_refused(
    world: World, world_stores: list[FeatureStore], change: Callable, message: str
) -> None:
    with pytest.raises(MismatchError, match=message):
        families(world_stores, activations=change(world.activations), n_replicates=0)

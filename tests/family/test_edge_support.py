"""Support is the share of resamples that pass."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from stores import write_into

from universality.family import EdgeRule, Families, families
from universality.family.edge_support import draw_groups, support
from universality.features.storage.store import FeatureStore


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


def test_one_document_gives_no_support(tmp_path: Path) -> None:
    """Every draw of one document is that document: its edges held in all of them and looked certain."""
    rng = np.random.default_rng(0)
    x, decoder = (rng.random((100, 3)) < 0.4).astype(np.float32), np.eye(3, dtype=np.float32)
    for n_tokens, unknown in ((50, True), (100, False)):
        two = [write_into(tmp_path, f"{n_tokens}-{k}", x[:n_tokens, :k], decoder[:k]) for k in (2, 3)]
        found = families(two, n_replicates=0, bootstrap=10).edges.support
        assert found.size == 2
        assert np.isnan(found).all() == unknown
